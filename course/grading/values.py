"""What a student's function gives back, as plain values: for the student's check, the key, the box.

`run_case` calls what a student wrote, `pack` and `unpack` carry the values over a pipe. The box
holds this file and `box/runner.py` and nothing else of the course, so this one imports only the
standard library and NumPy. Nothing here judges.
"""

import copy
import json
import random
import re
import sys
import warnings

import numpy as np

SEED = 0
# kinds of dtype that may leave the box: no objects, so nothing is ever unpickled
NUMBERS_AND_TEXT = "biufcU"
LARGEST_VALUE = 16 << 20  # bytes
LONGEST_TEXT, LONGEST_MESSAGE = 10_000, 500  # characters
_text_of, _length_of, _class_of = (
    str,
    len,
    type,
)  # what the student's code may put other things in the place of


class Student:
    """The names that a student's notebook defines, for probes: `student.relu(x)` or
    `student["relu"](x)`.

    Parameters
    ----------
    namespace : mapping
    """

    def __init__(self, namespace):
        self._namespace = namespace

    def __getitem__(self, name):
        if name not in self._namespace:
            raise NameError(f"name {name!r} is not defined")
        return self._namespace[name]

    def __contains__(self, name):
        return name in self._namespace

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]


class TimeLimit(BaseException):
    """A cell or a probe took too long. No Exception, so that `except Exception` in a loop does not
    catch it.
    """


def copied(inputs):
    """Inputs that the student's code may write into.

    Parameters
    ----------
    inputs : mapping

    Returns
    -------
    dict
    """
    return {
        name: value.copy() if isinstance(value, np.ndarray) else copy.deepcopy(value)
        for name, value in inputs.items()
    }


def seed():
    """Random numbers from the start: of Python, NumPy and Keras, if it is imported."""
    random.seed(SEED)
    np.random.seed(SEED)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(SEED)


def run_case(task_id, probe_source, part_names, namespace, inputs):
    """Call what a student wrote on the inputs of one case, with the random numbers from the start.

    Parameters
    ----------
    task_id : str
        The name that the task asks for.
    probe_source : str
        Source of `probe(student, inputs)`, which returns a mapping from the names of the parts to
        values. If it is empty, `task_id` is called with the inputs in their order; with several
        parts it must return as many values.
    part_names : sequence of str
    namespace : dict
        Of the student's notebook.
    inputs : mapping of str to anything
        Are copied.

    Returns
    -------
    dict
        defined : bool, whether the name is there.
        values : dict of str to array, of the parts that can be had as numbers or text.
        kinds : dict of str to str, what each part is: "ndarray", "tensor" (of any framework),
        "float", "int", "bool", "str", "list of 3", "tuple of 2", "NoneType" or the name of another
        type. A part that was not returned has none. returned : str, what was returned as a whole.
        error : None, or dict with type, message and line (of the student's cell; None if unknown).
    """
    result = {
        "defined": task_id in namespace,
        "values": {},
        "kinds": {},
        "returned": "NoneType",
        "error": None,
    }
    if not result["defined"]:
        return result
    seed()
    try:
        returned = _probe(task_id, probe_source, namespace, copied(inputs))
        result["returned"] = _kind(returned)
        for name, value in _by_part(returned, part_names, bool(probe_source.strip())).items():
            array, result["kinds"][name] = plain(value)
            if array is not None:
                result["values"][name] = array
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        file = getattr(getattr(namespace.get(task_id), "__code__", None), "co_filename", None)
        result.update(error=told(error, namespace, file), values={}, kinds={})
    return result


def _probe(task_id, source, namespace, inputs):
    if not source.strip():
        return namespace[task_id](*inputs.values())
    names = {"np": np, "__name__": "probe"}
    exec(compile(source, "<probe>", "exec"), names)
    return names["probe"](Student(namespace), inputs)


def _by_part(returned, part_names, named):
    """What was returned, by the names of the parts; empty if it cannot be told apart."""
    if named:
        return {name: returned[name] for name in part_names if name in returned}
    if len(part_names) == 1:
        return {part_names[0]: returned}
    if isinstance(returned, (tuple, list)) and len(returned) == len(part_names):
        return dict(zip(part_names, returned, strict=True))
    return {}


def told(error, namespace, file=None):
    """An error as plain data.

    Parameters
    ----------
    error : BaseException
    namespace : dict
        Of the student's notebook, by which the student's lines are known.
    file : str, optional
        The cell whose line is wanted; otherwise it is that of the last line of the student's that
        was running.

    Returns
    -------
    dict
        type, message, line (None if unknown).
    """
    try:
        message = _text_of(error)[:LONGEST_MESSAGE]
    except BaseException:
        message = ""
    lines, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals is namespace:
            lines.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    there = [line for name, line in lines if name == file] or [line for _, line in lines]
    if isinstance(error, SyntaxError) and not lines:
        there = [error.lineno]
    line = there[-1] if there and isinstance(there[-1], int) else None
    kind = "TimeoutError" if isinstance(error, TimeLimit) else _class_of(error).__name__[:80]
    return {"type": kind, "message": message, "line": line}


# ---------------------------------------------------------------- values


def plain(value):
    """A value as an array of numbers or text, where it is one, and what it was.

    Parameters
    ----------
    value : anything

    Returns
    -------
    array : ndarray or None
    kind : str
        See `run_case`.
    """
    kind = _kind(value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = _array(value, kind)
    except Exception:  # an object of another kind may raise anything
        return None, kind
    if array is None or array.dtype.kind not in NUMBERS_AND_TEXT:
        return None, kind
    if array.nbytes > LARGEST_VALUE:
        return None, f"{kind}, too large"
    return np.array(array, subok=False, order="C"), kind


def _kind(value):
    for kind, classes in (
        ("bool", (bool, np.bool_)),
        ("int", (int, np.integer)),
        ("float", (float, np.floating)),
        ("complex", (complex, np.complexfloating)),
        ("str", (str,)),
    ):
        if isinstance(value, classes):
            return kind
    if isinstance(value, (list, tuple)):
        return f"{'tuple' if isinstance(value, tuple) else 'list'} of {_length_of(value)}"
    return "tensor" if _is_tensor(value) else _class_of(value).__name__[:80]


def _is_tensor(value):
    return _class_of(value).__module__.partition(".")[0] in (
        "jax",
        "jaxlib",
        "keras",
        "tensorflow",
        "torch",
    ) and hasattr(value, "shape")


def _array(value, kind):
    if kind == "str":
        return np.array(value) if _length_of(value) <= LONGEST_TEXT else None
    if isinstance(value, (list, tuple)):
        return np.array([_to_numpy(item) for item in value])
    if isinstance(value, (bool, int, float, complex, np.generic, np.ndarray)):
        return _to_numpy(value)
    return _to_numpy(value) if hasattr(value, "__array__") else None


def _to_numpy(value):
    if isinstance(value, np.ma.MaskedArray):
        value = value.data
    if _is_tensor(value):
        # PyTorch gives no array of what has a gradient or is elsewhere.
        value = value.detach().cpu() if hasattr(value, "detach") else value
        value = np.asarray(
            value.value if hasattr(value, "value") and hasattr(value, "assign") else value
        )
    elif not isinstance(value, (list, tuple)):
        value = np.asarray(value)
    if getattr(value, "dtype", None) is not None and value.dtype.name in (
        "bfloat16",
        "float8_e4m3fn",
        "float8_e5m2",
    ):
        value = value.astype("float32")
    return value


# ---------------------------------------------------------------- values as bytes


def pack(tree):
    """Plain data as bytes: the text of it, then its arrays as they lie in memory. Nothing
    compressed, nothing pickled.

    Parameters
    ----------
    tree : dict (keys are str), list, tuple, str, number, bool, None or array of numbers or text,
    nested as you like

    Returns
    -------
    bytes
    """
    arrays, parts = [], []

    def text(node):
        if isinstance(node, np.generic):
            node = node.item()
        if isinstance(node, np.ndarray):
            if node.dtype.kind not in NUMBERS_AND_TEXT:
                raise ValueError(
                    f"An array of {node.dtype} cannot be packed: only numbers, truth values and"
                    " text."
                )
            node = np.ascontiguousarray(node).reshape(node.shape)
            arrays.append([node.dtype.str, list(node.shape)])
            parts.append(node.tobytes())
            return {"array": len(arrays) - 1}
        if isinstance(node, dict):
            return {"dict": {name: text(value) for name, value in node.items()}}
        if isinstance(node, (list, tuple)):
            return {type(node).__name__: [text(value) for value in node]}
        if node is None or isinstance(node, (bool, int, float, str)):
            return node
        raise ValueError(f"A {type(node).__name__} cannot be packed.")

    # Written in ASCII, which also keeps half surrogates (from a notebook with broken escapes) as
    # they are.
    head = json.dumps({"tree": text(tree), "arrays": arrays}).encode("ascii")
    return b"".join([len(head).to_bytes(8, "big"), head, *parts])


def unpack(data, most_text=1 << 20):
    """What `pack` has packed, from a source that is not trusted.

    What comes out is never larger than a small multiple of what went in.

    Parameters
    ----------
    data : bytes
    most_text : int
        Bytes that all but the arrays may have.

    Returns
    -------
    dict, list, ...

    Raises
    ------
    ValueError
        If it is anything else.
    """
    try:
        length = int.from_bytes(data[:8], "big")
        if length > min(len(data) - 8, most_text):
            raise ValueError("the text is too long")
        head = json.loads(data[8 : 8 + length].decode("ascii"))
        arrays, place = [], 8 + length
        for dtype, shape in head["arrays"]:
            if (
                not re.fullmatch(r"[<>|][biufcU]\d{1,6}", dtype)
                or len(shape) > 32
                or not all(type(n) is int and n >= 0 for n in shape)
            ):
                raise ValueError("not an array of numbers or text")
            dtype, count = np.dtype(dtype), int(np.prod(shape, dtype=object))
            end = place + count * dtype.itemsize
            if end > len(data) or not dtype.itemsize:
                raise ValueError("an array is longer than what came")
            arrays.append(
                np.frombuffer(data[place:end], dtype, count).reshape(shape).copy()
                if end > place
                else np.zeros(shape, dtype)
            )
            place = end

        def value(node):
            if not isinstance(node, dict):
                if isinstance(node, list):
                    raise ValueError("a list without its kind")
                return node
            ((kind, content),) = node.items()
            if kind == "array":
                return arrays[content]
            if kind == "dict":
                return {name: value(one) for name, one in content.items()}
            return {"list": list, "tuple": tuple}[kind](value(one) for one in content)

        return value(head["tree"])
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        RecursionError,
        OverflowError,
        MemoryError,
    ) as error:
        raise ValueError(f"This is not what the grader packs: {error}.") from None
