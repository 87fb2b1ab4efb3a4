"""Linear maps with weight normalisation, and one tick of a recurrent cell."""

import numpy as np


def effective(params: dict, name: str) -> np.ndarray:
    """Return the kernel: V gain / |V|, the norm of each column, or V where there is no gain."""
    kernel = np.asarray(params[name], np.float64)
    gain = params.get(name + "_gain")
    if gain is None:
        return kernel
    columns = np.sqrt((kernel**2).sum(axis=0))
    return kernel * np.asarray(gain, np.float64) / columns


def linear(params: dict, x: np.ndarray) -> np.ndarray:
    """Return x W + b."""
    return x @ effective(params, "kernel") + np.asarray(params["bias"], np.float64)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def gru(params: dict, h: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return h' of a GRU that resets after the recurrent product.

    r = s(x Wr + br + h Ur), z = s(x Wz + bz + h Uz),
    n = tanh(x Wn + bn + r (h Un + cn)), h' = (1 - z) n + z h
    """
    w_r, w_z, w_n = np.split(effective(params, "input_kernel"), 3, axis=1)
    u_r, u_z, u_n = np.split(effective(params, "recurrent_kernel"), 3, axis=1)
    b_r, b_z, b_n = np.split(np.asarray(params["input_bias"], np.float64), 3)
    c_n = np.asarray(params["candidate_bias"], np.float64)
    r = sigmoid(x @ w_r + b_r + h @ u_r)
    z = sigmoid(x @ w_z + b_z + h @ u_z)
    n = np.tanh(x @ w_n + b_n + r * (h @ u_n + c_n))
    return (1 - z) * n + z * h


def lstm(params: dict, state: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return [h'; c'] of an LSTM.

    i, f, o = s(x W + b + h U), g = tanh(x Wg + bg + h Ug), c' = f c + i g, h' = o tanh(c')
    """
    h, c = np.split(state, 2)
    w_i, w_f, w_g, w_o = np.split(effective(params, "input_kernel"), 4, axis=1)
    u_i, u_f, u_g, u_o = np.split(effective(params, "recurrent_kernel"), 4, axis=1)
    b_i, b_f, b_g, b_o = np.split(np.asarray(params["input_bias"], np.float64), 4)
    i = sigmoid(x @ w_i + b_i + h @ u_i)
    f = sigmoid(x @ w_f + b_f + h @ u_f)
    g = np.tanh(x @ w_g + b_g + h @ u_g)
    o = sigmoid(x @ w_o + b_o + h @ u_o)
    c = f * c + i * g
    return np.concatenate([o * np.tanh(c), c])


CELLS = {"gru": (gru, 1), "lstm": (lstm, 2)}


class Stack:
    """Stacked recurrent layers, with their state."""

    def __init__(self, params: dict, cell: str, layers: int, dim: int) -> None:
        self.step, vectors = CELLS[cell]
        names = [cell] + [f"{cell}_{layer}" for layer in range(2, layers + 1)]
        self.params = [params[name] for name in names]
        self.dim = dim
        self.state = np.zeros(layers * vectors * dim)

    def tick(self, x: np.ndarray) -> np.ndarray:
        """Advance one tick; return the h of the last layer."""
        after = []
        for params, state in zip(self.params, np.split(self.state, len(self.params)), strict=True):
            after.append(self.step(params, state, x))
            x = after[-1][: self.dim]
        self.state = np.concatenate(after)
        return x
