"""Choosing a method and a gradient: names, typed values, errors."""

import copy
import pickle

import pytest
import torch
from matrices import random_spd

import sqrtm


def test_the_public_tables():
    assert set(sqrtm.METHODS) == {
        "eigh", "svd", "minimax", "newton-schulz", "denman-beavers", "product-denman-beavers", "taylor", "pade", "auto",
    }  # fmt: skip
    assert set(sqrtm.GRADIENTS) == {
        "lyapunov-eigh", "lyapunov-newton-schulz", "lyapunov-chebyshev", "matrix-backprop", "unrolled", "auto",
    }  # fmt: skip
    for table in (sqrtm.METHODS, sqrtm.GRADIENTS):
        for name, cls in table.items():
            assert cls.name == name
            assert getattr(sqrtm, cls.__name__) is cls


@pytest.mark.parametrize("cls", [*sqrtm.METHODS.values(), *sqrtm.GRADIENTS.values()])
def test_values_are_values(cls):
    value = cls()
    assert value == cls()
    assert hash(value) == hash(cls())
    assert copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value
    with pytest.raises(AttributeError):
        value.name = "other"


def test_a_name_is_short_for_its_defaults():
    a = random_spd(5)
    for name, cls in sqrtm.METHODS.items():
        by_name, by_value = sqrtm.sqrtm(a, method=name), sqrtm.sqrtm(a, method=cls())
        atol = 1e-15 if name == "auto" else 0.0  # which has a way of fewer operations
        torch.testing.assert_close(by_name, by_value, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("kwargs", "error", "says"),
    [
        ({"method": "newton-shulz"}, ValueError, "unknown method 'newton-shulz', did you mean 'newton-schulz'"),
        ({"method": "EIGH"}, ValueError, "unknown method 'EIGH', did you mean 'eigh'"),
        ({"method": "zzz"}, ValueError, r"unknown method 'zzz'\. Known: eigh, svd, "),
        ({"gradient": "lyapunov"}, ValueError, "unknown gradient 'lyapunov', did you mean 'lyapunov-eigh'"),
        ({"method": sqrtm.NewtonSchulz}, TypeError, r"got the class NewtonSchulz: write NewtonSchulz\(\)"),
        ({"method": 3}, TypeError, "method must be a name or a value such as those in sqrtm.METHODS, got 3"),
        ({"gradient": None}, TypeError, "gradient must be a name or a value such as those in sqrtm.GRADIENTS"),
        ({"gradient": sqrtm.Eigh()}, TypeError, "gradient must be"),
        ({"method": sqrtm.LyapunovEigh()}, TypeError, "method must be"),
    ],
)
def test_bad_choice(kwargs, error, says):
    with pytest.raises(error, match=says):
        sqrtm.sqrtm(torch.eye(2), **kwargs)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: sqrtm.NewtonSchulz(steps=0), ValueError, r"NewtonSchulz\(steps=0\): steps must be at least 1"),
        (lambda: sqrtm.NewtonSchulz(steps=2.5), TypeError, r"steps must be an integer"),
        (lambda: sqrtm.NewtonSchulz(steps=True), TypeError, r"steps must be an integer"),
        (lambda: sqrtm.NewtonSchulz(scaling="two"), ValueError, r"one of frobenius, trace, spectral"),
        (lambda: sqrtm.DenmanBeavers(steps=-1), ValueError, r"at least 1"),
        (lambda: sqrtm.ProductDenmanBeavers(steps=0), ValueError, r"at least 1"),
        (lambda: sqrtm.Taylor(degree=0), ValueError, r"Taylor\(degree=0\)"),
        (lambda: sqrtm.Pade(degree=11), ValueError, r"at most 10"),
        (lambda: sqrtm.Pade(degree="5"), TypeError, r"Pade\(degree='5'\)"),
        (lambda: sqrtm.LyapunovNewtonSchulz(steps=0), ValueError, r"at least 1"),
        (lambda: sqrtm.LyapunovEigh(rtol=-1.0), ValueError, r"rtol must be a number of at least 0"),
        (lambda: sqrtm.LyapunovEigh(rtol="a"), ValueError, r"rtol must be a number"),
    ],
)
def test_bad_settings(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_one_step_is_allowed():
    a = torch.eye(3)
    for value in (sqrtm.NewtonSchulz(steps=1), sqrtm.DenmanBeavers(steps=1), sqrtm.ProductDenmanBeavers(steps=1),
                  sqrtm.Taylor(degree=1), sqrtm.Pade(degree=1)):  # fmt: skip
        s, z = sqrtm.sqrtm_pair(a, method=value)
        assert s.isfinite().all()
        assert z.isfinite().all()
