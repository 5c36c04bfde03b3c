"""The error of numbers that are not finite, wherever they turn up."""


class NonFiniteError(ValueError):
    """A loss, a gradient, parameters or log-likelihoods are NaN or infinite."""
