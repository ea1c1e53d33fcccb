"""What goes on in the layers of a network while it trains: a hook for `training.train`."""

import keras
import numpy as np
import pandas as pd

from course import modes, training
from course.config import check_count


class Recorder(training.Hook):
    """Statistics of activations, and moving statistics, while a model trains.

    Of each dense, conv, norm and activation layer's output over up to 256 training images: "mean"
    and "variance" in training mode, "inference_mean" and "inference_variance" in inference mode;
    of each batch norm "moving_mean" and "moving_variance"; each for every feature (channel). They
    become the `statistics` of the run, tidy: step, layer, quantity, feature and value.

    Parameters
    ----------
    every : int
        Record every so many steps, and before the first.
    """

    def __init__(self, every):
        check_count("record_every", every)
        self.every, self.tables = every, []

    def begin(self, run):
        if run.epoch:
            raise ValueError(
                "A checkpoint has no statistics: leave out the Recorder, or remove the checkpoint."
            )
        model, kinds = run.engine, ("dense", "conv", "norm", "activation")
        self.layers = [layer for layer in model.layers if layer.name.split("_")[0] in kinds]
        self.watched = keras.Model(model.input, [layer.output for layer in self.layers])
        self.record(run)

    def step_done(self, run):
        if run.step % self.every == 0:
            self.record(run)

    def record(self, run):
        """Record now."""
        probe, to_numpy = run.data.x_train[:256], keras.ops.convert_to_numpy
        norms = [layer for layer in self.layers if isinstance(layer, modes.BatchNorm)]
        # A look in training mode would move the moving statistics; they are put back afterwards.
        saved = [[to_numpy(weight) for weight in layer.weights] for layer in norms]
        for mode, prefix in ((True, ""), (False, "inference_")):
            outputs = self.watched(probe, training=mode)
            for layer, output in zip(self.layers, outputs, strict=True):
                values = to_numpy(output).reshape(-1, output.shape[-1])
                self._add(run, layer, prefix + "mean", values.mean(axis=0))
                self._add(run, layer, prefix + "variance", values.var(axis=0))
            for layer, weights in zip(norms, saved, strict=True):
                layer.set_weights(weights)
        for layer in norms:
            self._add(run, layer, "moving_mean", to_numpy(layer.moving_mean))
            self._add(run, layer, "moving_variance", to_numpy(layer.moving_variance))

    def _add(self, run, layer, quantity, values):
        columns = {"step": run.step, "layer": layer.name, "quantity": quantity}
        columns |= {"feature": np.arange(len(values)), "value": values}
        self.tables.append(pd.DataFrame(columns))

    def end(self, run):
        run.statistics = pd.concat(self.tables, ignore_index=True)
