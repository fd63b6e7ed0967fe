"""Statements that keep what they are given: they put it into a container that outlives the step, into a cache without a bound, or add it to a sum.

Read from the source alone, so they may keep little, or what is taken out elsewhere. They matter where a process's memory grows. A call of a
function of the same file counts as the statements of that function: an `append` of a microsecond is never on the stack, the line that calls it is.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

METHODS = frozenset(
    [
        "append",
        "appendleft",
        "extend",
        "add",
        "insert",
        "setdefault",
        "update",
        "put",
        "put_nowait",
        "push",
        "register_forward_hook",
    ]
)
JOINS = frozenset(
    ["concat", "concatenate", "cat", "vstack", "hstack", "stack", "append"]
)  # of arrays, tensors and tables
SCALARS = frozenset(
    [
        *("item", "float", "int", "len", "bool", "round", "perf_counter", "time", "time_ns", "monotonic"),
        *("random", "uniform", "randint", "randrange", "gauss", "numel", "qsize"),
    ]
)
FIXED = frozenset(["zeros", "empty", "ones", "full", "deque"])  # with a length that does not grow
PUSHES = frozenset(["heappush", "insort", "insort_left", "insort_right"])  # into their first argument
TAKES_OUT = frozenset(["pop", "popleft", "popitem", "clear", "heappop"])
HOOKS = re.compile(r"register_\w*hook")
MAX_CALLS = 3  # from a function to the one that keeps
MAX_NAMESAKES = 3  # functions of one name: of more, which one a call means is not known

Function = ast.FunctionDef | ast.AsyncFunctionDef
Loop = ast.For | ast.AsyncFor | ast.While


class KeepingLine(NamedTuple):
    """The first line of a statement and the function that it is in, as Python qualifies its name."""

    function: str
    line: int


class Retention:
    """The keeping statements of one file. A file that this Python cannot parse has none."""

    def __init__(self, source: str) -> None:
        try:
            self._tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError):
            self._tree = ast.Module([], [])
        self._names = dict(_named(self._tree))
        self._known: dict[tuple[Function | None, bool], list[KeepingLine]] = {}
        self._called: dict[str, list[Function]] = defaultdict(list)
        for function, name in self._names.items():
            parts = name.split(".")
            self._called[parts[-2] if parts[-1] == "__init__" and len(parts) > 1 else parts[-1]].append(function)
        nodes = [*ast.walk(self._tree)]
        self._hooks = [each for node in nodes if isinstance(node, ast.Call) for each in self._hooks_of(node)]
        self._bounded = {name for node in nodes for name in (*_of_fixed_length(node, _is_bounded), *_emptied(node))}
        # A tensor of fixed shape that a loss is added to keeps the loss's graph.
        self._arrays = {name for node in nodes for name in _of_fixed_length(node, _is_tensor)}

    def lines(self, line: int, stays: bool) -> list[KeepingLine]:
        """The keeping statements of the function that `line` is in, and of those that it calls, in order.

        `stays`: the function has been on the stack all the time, so that its variables live as long as the loop in it.
        """
        around = [node for node in self._names if node.lineno <= line <= (node.end_lineno or node.lineno)]
        function = max(around, key=lambda node: node.lineno, default=None)
        if (function, stays) not in self._known:
            self._known[function, stays] = sorted(self._kept_by(function, stays, MAX_CALLS))
        return self._known[function, stays]

    def _kept_by(self, function: Function | None, stays: bool, calls: int) -> set[KeepingLine]:
        scope: ast.AST = function or self._tree
        name = self._names[function] if function else "<module>"
        if function and _is_unbounded_cache(function):
            return {KeepingLine(name, node.lineno) for node in _inside(function) if isinstance(node, ast.Return)}
        lives_on = stays or function is None or _is_generator(function)
        fresh = _assigned(scope, in_loops=lives_on) | (set() if lives_on else _assigned(scope, in_loops=False))
        outside = {
            name for node in _inside(scope) if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names
        }
        found = set()
        for hook in self._hooks if stays and calls else ():  # what calls it is the library, from within the loop
            found |= self._kept_by(hook, False, calls - 1)
        for node in _loop_bodies(scope) if lives_on else _inside(scope):
            if isinstance(node, ast.stmt) and (kept := self._container(node)):
                rebinds = bool(_join_of(node)) and kept.isidentifier()
                sums = rebinds or isinstance(node, ast.AugAssign)
                gone = kept in fresh - outside or kept in self._bounded or (kept in self._arrays and not sums)
                if not gone and (lives_on or kept in outside or not rebinds):
                    found.add(KeepingLine(name, node.lineno))
            if calls and isinstance(node, ast.Call):
                for callee in self._callees(node, function):
                    found |= self._kept_by(callee, False, calls - 1)
        return found

    def _callees(self, call: ast.Call, caller: Function | None) -> list[Function]:
        functions = self._called.get(_called(call), [])
        return [each for each in functions if each is not caller] if len(functions) <= MAX_NAMESAKES else []

    def _hooks_of(self, call: ast.Call) -> Iterator[Function]:
        """The functions of this file that a call registers as hooks: `register_forward_hook(self.record)`, `register_hook(make(name))`."""
        if not HOOKS.fullmatch(_called(call)):
            return
        for argument in call.args:
            if isinstance(argument, ast.Call):
                for maker in self._called.get(_called(argument), [])[:MAX_NAMESAKES]:
                    yield from (each for each in ast.walk(maker) if isinstance(each, Function) and each is not maker)
            else:
                yield from self._called.get(ast.unparse(argument).rpartition(".")[2], [])[:MAX_NAMESAKES]

    def _container(self, node: ast.stmt) -> str:
        """What the statement puts something into, "" where it is a call of a method of this file."""
        own = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _called(node.value) in self._called
        return "" if own else _container(node)


def _named(scope: ast.AST, prefix: str = "") -> Iterator[tuple[Function, str]]:
    """Each function with its qualified name."""
    for child in ast.iter_child_nodes(scope):
        if isinstance(child, Function):
            yield child, f"{prefix}{child.name}"
            yield from _named(child, f"{prefix}{child.name}.<locals>.")
        elif isinstance(child, ast.ClassDef):
            yield from _named(child, f"{prefix}{child.name}.")
        else:
            yield from _named(child, prefix)


def _is_generator(function: Function) -> bool:
    """Its variables live as long as the loop that draws from it."""
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _inside(function))


def _inside(scope: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a function or module, without those of functions and classes in it."""
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, Function | ast.ClassDef | ast.Lambda):
            yield child
            yield from _inside(child)


def _loop_bodies(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of its loops, with what they loop over: a generator may keep what it gives."""
    for node in _inside(scope):
        if isinstance(node, Loop):
            yield from _inside(node)


def _assigned(scope: ast.AST, in_loops: bool) -> set[str]:
    """Names that are bound in it: what they held before is let go."""
    found: set[str] = set()
    for node in _loop_bodies(scope) if in_loops else _inside(scope):
        if isinstance(node, ast.Assign) and not _join_of(node):
            targets = [leaf for target in node.targets for leaf in _leaves(target)]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found.add(node.target.id)
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            found |= {target.id for target in _leaves(node.target) if isinstance(target, ast.Name)}
    return found


def _leaves(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, ast.Tuple | ast.List):
        for each in target.elts:
            yield from _leaves(each)
    else:
        yield target


def _container(node: ast.stmt) -> str:
    """What the statement puts something into that it keeps, "" where it does not."""
    if isinstance(node, ast.Expr) and isinstance(call := node.value, ast.Call) and isinstance(call.func, ast.Attribute):
        keeps = call.func.attr in METHODS and bool(call.args) and not all(_is_small(each) for each in call.args)
        if call.func.attr in PUSHES and call.args:
            return _root(call.args[0])
        return _root(call.func.value) if keeps else ""
    if (
        isinstance(node, ast.Expr)
        and isinstance(call := node.value, ast.Call)
        and _called(call) in PUSHES
        and call.args
    ):
        return _root(call.args[0])
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        return "" if _is_small(node.value) else _root(node.target)
    if isinstance(node, ast.Assign):
        if joined := _join_of(node):
            return joined
        for target in node.targets:
            if isinstance(target, ast.Subscript) and _is_new_key(target.slice) and not _is_small(node.value):
                return _root(target.value)
    return ""


def _join_of(node: ast.stmt) -> str:
    """`x` of `x = concat([x, new])`, `x = x + new`, `x = [*x, new]` and `x = x.append(new)`."""
    if not isinstance(node, ast.Assign) or isinstance(target := node.targets[0], ast.Tuple):
        return ""
    name, value = ast.unparse(target), node.value
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add | ast.BitOr):
        sides = [value.left, value.right]
        others = [side for side in sides if ast.unparse(side) != name]
        return _root(target) if len(others) == 1 and not _is_small(others[0]) else ""
    if isinstance(value, ast.List | ast.Tuple | ast.Set):
        again = any(isinstance(each, ast.Starred) and ast.unparse(each.value) == name for each in value.elts)
        return _root(target) if again and len(value.elts) > 1 else ""
    if isinstance(value, ast.Dict):
        again = any(
            key is None and ast.unparse(each) == name for key, each in zip(value.keys, value.values, strict=True)
        )
        return _root(target) if again and len(value.keys) > 1 else ""
    if not isinstance(value, ast.Call) or _called(value) not in JOINS:
        return ""
    parts = [*value.args, *([value.func.value] if isinstance(value.func, ast.Attribute) else [])]
    joined = any(ast.unparse(each) == name for part in parts for each in ast.walk(part) if isinstance(each, ast.expr))
    return _root(target) if joined else ""


def _of_fixed_length(node: ast.AST, is_fixed: Callable[[ast.expr], bool]) -> Iterator[str]:
    """`newest` of `losses, newest = [], deque(maxlen=9)`."""
    if not isinstance(node, ast.Assign):
        return
    for target in node.targets:
        together = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
        pairs = zip(target.elts, node.value.elts, strict=False) if together else [(target, node.value)]  # type: ignore[attr-defined]
        yield from (_root(each) for each, value in pairs if is_fixed(value))


def _emptied(node: ast.AST) -> Iterator[str]:
    """What something is taken out of."""
    if isinstance(node, ast.Call) and _called(node) in TAKES_OUT:
        if _called(node) == "heappop":
            yield from map(_root, node.args[:1])
        elif isinstance(node.func, ast.Attribute):
            yield _root(node.func.value)
    if isinstance(node, ast.Delete):
        yield from (_root(target.value) for target in node.targets if isinstance(target, ast.Subscript))


def _is_new_key(key: ast.expr) -> bool:
    """Not a constant, a slice, or a number that comes back."""
    parts = [*ast.walk(key)]
    varies = any(isinstance(part, ast.Name | ast.Attribute) for part in parts)
    return varies and not any(isinstance(part, ast.Slice | ast.Mod) for part in parts)


def _is_small(value: ast.expr) -> bool:
    """A number, a constant or a short text."""
    if isinstance(value, ast.Call):
        return _called(value) in SCALARS
    if isinstance(value, ast.BinOp):
        return _is_small(value.left) and _is_small(value.right)
    if isinstance(value, ast.Tuple):
        return all(_is_small(each) for each in value.elts)
    return isinstance(value, ast.Constant)


def _is_bounded(value: ast.expr) -> bool:
    """An array, or a deque with a `maxlen`."""
    if not isinstance(value, ast.Call) or _called(value) not in FIXED or _is_tensor(value):
        return False
    return _called(value) != "deque" or len(value.args) > 1 or any(each.arg == "maxlen" for each in value.keywords)


def _is_tensor(value: ast.expr) -> bool:
    """`torch.zeros(...)`"""
    return isinstance(value, ast.Call) and _called(value) in FIXED and ast.unparse(value.func).startswith("torch.")


def _is_unbounded_cache(function: Function) -> bool:
    for decorator in function.decorator_list:
        named = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = named.attr if isinstance(named, ast.Attribute) else named.id if isinstance(named, ast.Name) else ""
        if name == "cache":
            return True
        if name == "lru_cache" and isinstance(decorator, ast.Call):
            sizes = [*decorator.args[:1], *(each.value for each in decorator.keywords if each.arg == "maxsize")]
            return any(isinstance(size, ast.Constant) and size.value is None for size in sizes)
    return False


def _called(call: ast.Call) -> str:
    return (
        call.func.attr
        if isinstance(call.func, ast.Attribute)
        else call.func.id
        if isinstance(call.func, ast.Name)
        else ""
    )


def _root(target: ast.expr) -> str:
    """`self.cache` of `self.cache[key].parts`: an object's attribute lives as long as the object."""
    while isinstance(target, ast.Subscript | ast.Call):
        target = target.value if isinstance(target, ast.Subscript) else target.func
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Subscript | ast.Call):
        return _root(target.value)
    return ast.unparse(target)
