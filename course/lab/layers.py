"""Layers of the experiments that Keras does not have: of templates, not of lessons.

All compute in `keras.ops`, draw from generators of their own and have no effects in Python, so that
JAX can train many seeds of a network at once.
"""

import keras


class DynamicTanh(keras.layers.Layer):
    """gamma * tanh(alpha x) + beta in place of a norm (Zhu et al. 2025, algorithm 1).

    alpha is one number, learned from 0.5 on; gamma and beta are one a feature, from 1 and 0 on.
    """

    def build(self, input_shape):
        initial = keras.initializers.Constant(0.5)
        self.alpha = self.add_weight(shape=(), initializer=initial, name="alpha")
        self.gamma = self.add_weight(shape=input_shape[-1:], initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=input_shape[-1:], initializer="zeros", name="beta")

    def call(self, inputs):
        return self.gamma * keras.ops.tanh(self.alpha * inputs) + self.beta


class Gate(keras.layers.Layer):
    """One learned factor for a whole branch, from 0 on: SkipInit (De and Smith 2020)."""

    def build(self, input_shape):
        self.factor = self.add_weight(shape=(), initializer="zeros", name="factor")

    def call(self, inputs):
        return self.factor * inputs


class EarlyDropout(keras.layers.Dropout):
    """Dropout in the first so many steps of training only (Liu et al. 2023).

    Parameters
    ----------
    rate : float
        Probability of dropping, in (0, 1).
    until : int
        How many steps: calls in training mode.
    """

    def __init__(self, rate, until, **options):
        super().__init__(rate, **options)
        self.until = until

    def build(self, input_shape):
        self.steps = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="steps"
        )

    def call(self, inputs, training=False):
        if not training:
            return inputs
        dropped = super().call(inputs, training=True)
        outputs = keras.ops.where(self.steps < self.until, dropped, inputs)
        self.steps.assign(self.steps + 1)
        return outputs

    def get_config(self):
        return {**super().get_config(), "until": self.until}
