"""Many seeds of one arm: trained at once where JAX can do it, one after the other elsewhere.

At once means one `jax.vmap` over Keras's `stateless_call`, and an epoch as one `lax.scan`. Each
seed has the initial weights, masks, order and images that it has when `training.train` trains it
alone (tests/lab/test_many.py holds them to each other).
"""

from dataclasses import replace
from time import perf_counter

import keras
import numpy as np

from course import training
from course.lab import record
from course.lab.recorder import Recorder

# Seeds in one piece. On a CPU more do not fit into its cache: eight took a fifth longer a seed than
# two. And a kill costs what is unfinished.
AT_ONCE = {"cpu": 2, "gpu": 64, "tpu": 64}
SAVE_SECONDS = 20  # a checkpoint at most so often
PART = 1_000  # images of one seed that are measured at a time


def trials(trial, seeds):
    """The trials of these seeds that have no result yet; by hand, where none is kept, all.

    Parameters
    ----------
    trial : course.lab.trial.Trial
        Of any seed.
    seeds : iterable of int

    Yields
    ------
    course.lab.trial.Trial
        Looked up one by one, as another sweep may compute some meanwhile.
    """
    for seed in dict.fromkeys(seeds):
        one = trial.with_seed(seed)
        if not record.is_there(one):
            yield one


def runs(trial, seeds, model=None, options=None, batches=training.shuffled):
    """Train an arm with each of some seeds, as far as their results are missing.

    Parameters
    ----------
    trial : course.lab.trial.Trial
        Of any seed.
    seeds : iterable of int
    model : callable, optional
        A builder of your own, `build(input_shape, classes, *, seed, ...)`, instead of the trial's.
    options : mapping, optional
        Of that builder.
    batches : callable
        As for `training.train`.

    Yields
    ------
    trial : course.lab.trial.Trial
        With its seed.
    run : course.training.Run
        With `best`. Seeds that are trained at once share one model, which holds the weights of this
        seed until the next one is asked for.
    images : course.data.Data
    """
    config = trial.config
    if model:
        config = replace(config, model=model, options=options or {})
    if not _can_be_vectorised(trial, config):
        for one in trials(trial, seeds):
            images, checkpoint = one.load_data(), record.checkpoint(one)
            hooks = [Best()]
            if one.record_every:
                hooks.append(Recorder(one.record_every))
            elif checkpoint:
                hooks.append(record.Checkpoint(checkpoint))
            run = training.train(
                replace(config, seed=one.seed),
                images,
                measure_every=one.measure_every,
                hooks=hooks,
                batches=batches,
            )
            if not run.completed:
                return
            yield one, run, images
        return
    import jax

    missing, arm = list(trials(trial, seeds)), None
    parts = -(-len(missing) // AT_ONCE.get(jax.default_backend(), 2))
    # Parts of equal sizes, so that one compiled function serves them all. They follow each other as
    # the seeds do: of a failed execution, the sweep blames the first seed that has no result.
    for part in np.array_split(missing, max(1, parts)):
        chunk = [one for one in part if not record.is_there(one)]  # looked up again
        if chunk:
            arm = arm or _Arm(config, chunk[0].load_data())
            yield from arm.train(chunk, batches)


def _can_be_vectorised(trial, config):
    """Whether this backend, machine and network train many seeds at once, and well."""
    if keras.config.backend() != "jax" or trial.record_every:
        return False
    import jax

    # JAX's convolutions on a CPU take many times as long as TensorFlow's, and vectorised even more.
    network = training.build(config, trial.load_data())
    convolves = any("conv" in type(layer).__name__.lower() for layer in network.layers)
    return jax.default_backend() != "cpu" or not convolves or trial.template == "transformer"


class Best(training.Hook):
    """Keeps the weights of the epoch with the least validation loss: what early stopping keeps."""

    def begin(self, run):
        run.best = run.best or run.model.get_weights()

    def epoch_done(self, run):
        if run.curve("loss").idxmin() == run.epoch:
            run.best = run.model.get_weights()


class _Arm:
    """One network, and the functions of it that parts of the seeds go through.

    A state is (trained, other, moments): lists of arrays, one for each trainable variable, other
    variable (moving statistics, states of random generators) and variable of the optimizer; the
    first axis of each array is the seed.
    """

    def __init__(self, config, images):
        import jax

        self.config, self.compiled = config, {}
        self.model = training.build(config, images)  # what is given back
        model = training.stop_before_softmax(training.build(config, images))
        optimizer, loss = model.optimizer, keras.losses.get(model.loss)
        optimizer.build(model.trainable_variables)
        self.moments = [np.array(variable.value) for variable in optimizer.variables]

        def step(state, batch, x, y):
            def objective(trained, other):
                outputs, other, losses = model.stateless_call(
                    trained, other, x[batch], training=True, return_losses=True
                )
                value = jax.numpy.mean(loss(y[batch], outputs)) + sum(losses)
                accuracy = jax.numpy.mean(outputs.argmax(axis=-1) == y[batch])
                return value, (other, accuracy)

            trained, other, moments = state
            gradient = jax.value_and_grad(objective, has_aux=True)
            (value, (other, accuracy)), gradients = gradient(trained, other)
            trained, moments = optimizer.stateless_apply(moments, gradients, trained)
            return (trained, other, moments), (value, accuracy)

        def epoch(state, x, y, order):
            return jax.lax.scan(lambda state, batch: step(state, batch, x, y), state, order)

        def scores(state, x, y):
            """Loss and accuracy in inference mode, as `modes.scores`; labels of -1 do not count."""

            def sums(part):
                outputs, _ = model.stateless_call(*state[:2], part[0], training=False)
                outputs = training.probabilities(model, outputs)
                chosen = jax.numpy.take_along_axis(outputs, part[1].clip(0)[:, None], axis=1)[:, 0]
                losses = -jax.numpy.log(chosen.clip(keras.config.epsilon(), 1.0))
                right = outputs.argmax(axis=1) == part[1]
                counts = part[1] >= 0
                return (losses * counts).sum(), (right & counts).sum()

            losses, right = jax.lax.map(sums, (x, y))
            return losses.sum() / (y >= 0).sum(), right.sum() / (y >= 0).sum()

        def better(now, before, which):
            pick = jax.vmap(lambda one, other, this: jax.numpy.where(this, one, other), (0, 0, 0))
            return [pick(one, other, which) for one, other in zip(now, before, strict=True)]

        self.epoch = jax.jit(jax.vmap(epoch), donate_argnums=0)
        self.scores = jax.jit(jax.vmap(scores))
        self.better = jax.jit(better)

    def train(self, chunk, batches):
        """Train the trials of some seeds; yields as `runs` does."""
        import jax

        images = [one.load_data() for one in chunk]
        found = [
            training.Run(replace(self.config, seed=one.seed), self.model, best=[]) for one in chunk
        ]
        state = self._initial(found, images)
        # Copies, for the first step gives the memory of its state away.
        weights = [jax.numpy.copy(array) for array in state[0] + state[1]]
        saver = _Saver(chunk, found, images)
        best, state = saver.load((weights, state))
        x, y = (jax.numpy.stack([getattr(one, name) for one in images]) for name in TRAINING)
        measured = {
            "train": [_in_parts(one.x_train[:2_000], one.y_train[:2_000]) for one in images],
            "validation": [_in_parts(one.x_validation, one.y_validation) for one in images],
        }
        measured = {
            split: [jax.numpy.stack(part) for part in zip(*parts, strict=True)]
            for split, parts in measured.items()
        }
        record.NOTES["at_once"] = str(len(chunk))
        every, epochs, size = chunk[0].measure_every, self.config.epochs, self.config.batch_size
        orders = [np.random.default_rng(one.seed) for one in chunk]
        least = np.array([run.curve("loss").min() if run.rows else np.inf for run in found])
        if not found[0].epoch:
            least = self._measure(found, state, measured)
        progress, found[0].data = training.Progress(), images[0]
        progress.begin(found[0])
        for epoch in range(1, epochs + 1):
            drawn = zip(orders, images, strict=True)
            order = np.stack([batches(rng, data, size) for rng, data in drawn])
            if epoch <= found[0].epoch:
                continue
            steps = order.shape[1]
            if (len(chunk), steps) not in self.compiled:  # so that compiling counts in no seconds
                lowered = self.epoch.lower(state, x, y, order)
                self.compiled[len(chunk), steps] = lowered.compile()
            start = perf_counter()
            state, logs = self.compiled[len(chunk), steps](state, x, y, order)
            losses, accuracies = (np.asarray(log, dtype=float).mean(axis=1) for log in logs)
            seconds = (perf_counter() - start) / len(chunk)
            for run, loss, accuracy in zip(found, losses, accuracies, strict=True):
                run.epoch, run.step, run.seconds = epoch, epoch * steps, run.seconds + seconds
                logged = {"loss": loss, "accuracy": accuracy, "seconds": run.seconds}
                run.rows += training.rows(epoch, "train", "training", logged)
            if epoch % every == 0 or epoch == epochs:
                validation = self._measure(found, state, measured)
                best = self.better(state[0] + state[1], best, validation < least)
                least = np.fmin(least, validation)
            saver.epoch_done((best, state))
            progress.bar.update(steps)
            progress.epoch_done(found[0])
        progress.end(found[0])
        try:
            yield from self._finished(chunk, found, images, best, state)
        finally:  # also where what is done with a run fails: nobody would ask for it again
            saver.remove()

    def _initial(self, found, images):
        """The state before the first step: that of each seed's own network."""
        import jax

        trained, other = [], []
        for run, data in zip(found, images, strict=True):
            twin = training.build(run.config, data)
            trained.append([np.array(variable.value) for variable in twin.trainable_variables])
            other.append([np.array(variable.value) for variable in twin.non_trainable_variables])
        count = [len(found)]
        moments = [np.broadcast_to(one, count + [*one.shape]) for one in self.moments]

        def stacked(lists):
            return [np.stack(values) for values in zip(*lists, strict=True)]

        return jax.device_put((stacked(trained), stacked(other), moments))

    def _measure(self, found, state, measured):
        for split, (x, y) in measured.items():
            losses, accuracies = map(np.asarray, self.scores(state, x, y))
            for run, loss, accuracy in zip(found, losses, accuracies, strict=True):
                values = {"loss": loss, "accuracy": accuracy}
                run.rows += training.rows(run.epoch, split, "inference", values)
        return losses  # of validation, which comes last

    def _finished(self, chunk, found, images, best, state):
        variables = self.model.trainable_variables + self.model.non_trainable_variables
        last, best = (
            [np.asarray(array) for array in arrays] for arrays in (state[0] + state[1], best)
        )
        for number, (one, run, data) in enumerate(zip(chunk, found, images, strict=True)):
            for arrays in (best, last):
                for variable, array in zip(variables, arrays, strict=True):
                    variable.assign(array[number])
                if arrays is best:
                    run.best = self.model.get_weights()
            run.completed, run.data = True, None
            yield one, run, data


TRAINING = ("x_train", "y_train")


def _in_parts(x, y):
    """Images and labels in parts of one size, the last filled up with labels of -1."""
    size = min(PART, len(x))
    filled = -len(x) % size
    x = np.pad(x, [(0, filled), *[(0, 0)] * (x.ndim - 1)])
    y = np.pad(y, (0, filled), constant_values=-1)
    return x.reshape(-1, size, *x.shape[1:]), y.reshape(-1, size)


class _Saver:
    """The checkpoint of seeds that are trained at once; see `record.Checkpoint`."""

    def __init__(self, chunk, found, images):
        self.path, self.found, self.saved = record.checkpoint(*chunk), found, perf_counter()
        # Unlike that of one seed by itself, which may have the same name.
        self.identity = f"at once: {record.identity(found, images)}"

    def epoch_done(self, arrays):
        import jax

        if self.path and perf_counter() - self.saved > SAVE_SECONDS:
            record.keep(self.path, self.identity, self.found, jax.tree.leaves(arrays))
            self.saved = perf_counter()

    def load(self, arrays):
        """What a killed training has left, or the arrays as they are."""
        import jax

        kept = record.kept(self.path, self.identity, self.found) if self.path else []
        shape = jax.tree.structure(arrays)
        return shape.unflatten(map(jax.numpy.asarray, kept)) if kept else arrays

    def remove(self):
        if self.path:
            self.path.unlink(missing_ok=True)
