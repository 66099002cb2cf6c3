"""The two strategies of crates/bn-textbook in NumPy: the computational graph node by node, and the analytic form.

Features are on axis 1; (N,C,H,W) is reduced over the axes 0, 2 and 3, as the Rust code does it.
"""

import numpy as np

EPS = 1e-5


def per_feature(ndim):
    """The axes that are summed over, and the shape that broadcasts one value per feature."""
    return (0,) + tuple(range(2, ndim)), (1, -1) + (1,) * (ndim - 2)


def graph_forward(x, weight, bias, eps=EPS):
    axes, wide = per_feature(x.ndim)
    n = x.dtype.type(x.size // x.shape[1])
    weight, bias = weight.reshape(wide), bias.reshape(wide)
    mean = x.sum(axis=axes, keepdims=True) / n
    centred = x - mean
    squared = centred * centred
    var = squared.sum(axis=axes, keepdims=True) / n
    std = np.sqrt(var + x.dtype.type(eps))
    inverse = 1 / std
    normalized = centred * inverse
    scaled = normalized * weight
    shifted = scaled + bias
    return shifted, (centred, normalized, std, inverse, weight, n)


def graph_backward(dy, cache):
    centred, normalized, std, inverse, weight, n = cache
    axes, _ = per_feature(dy.ndim)
    dbias = dy.sum(axis=axes)
    dscaled = dy
    dweight = (dscaled * normalized).sum(axis=axes)
    dnormalized = dscaled * weight
    dinverse = (dnormalized * centred).sum(axis=axes, keepdims=True)
    dcentred_direct = dnormalized * inverse
    dstd = -dinverse / (std * std)
    dvar = dstd / (2 * std)
    # The post writes 1/N * np.ones(...) * dvar; this is the same array in one write.
    dsquared = np.broadcast_to(dvar / n, dy.shape).copy()
    dcentred_squared = centred * 2 * dsquared
    dcentred = dcentred_direct + dcentred_squared
    dmean = -dcentred.sum(axis=axes, keepdims=True)
    dx_mean = np.broadcast_to(dmean / n, dy.shape).copy()
    dx = dcentred + dx_mean
    return dx, dweight, dbias


def analytic_forward(x, weight, bias, eps=EPS):
    axes, wide = per_feature(x.ndim)
    n = x.dtype.type(x.size // x.shape[1])
    weight, bias = weight.reshape(wide), bias.reshape(wide)
    mean = x.sum(axis=axes, keepdims=True) / n
    centred = x - mean
    var = (centred * centred).sum(axis=axes, keepdims=True) / n
    invstd = 1 / np.sqrt(var + x.dtype.type(eps))
    xhat = centred
    xhat *= invstd
    return xhat * weight + bias, (xhat, invstd, weight, n)


def analytic_backward(dy, cache):
    xhat, invstd, weight, n = cache
    axes, wide = per_feature(dy.ndim)
    dbias = dy.sum(axis=axes)
    dweight = (xhat * dy).sum(axis=axes)
    dx = (weight * invstd / n) * (n * dy - xhat * dweight.reshape(wide) - dbias.reshape(wide))
    return dx, dweight, dbias
