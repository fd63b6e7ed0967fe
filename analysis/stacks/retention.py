"""Statements that keep what they are given: they put it into a container that outlives the step, or into a cache without a bound.

Read from the source alone, so they may keep little, or what is taken out elsewhere. They matter where a process's memory grows.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

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
SCALARS = frozenset(["item", "float", "int", "len", "bool", "round", "perf_counter", "time", "monotonic"])
FIXED = frozenset(["zeros", "empty", "ones", "full", "deque"])  # with a length that does not grow
TAKES_OUT = frozenset(["pop", "popleft", "popitem", "clear"])

Function = ast.FunctionDef | ast.AsyncFunctionDef
Loop = ast.For | ast.AsyncFor | ast.While


class Retention:
    """The keeping statements of one file. A file that this Python cannot parse has none."""

    def __init__(self, source: str) -> None:
        try:
            self._tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError):
            self._tree = ast.Module([], [])
        self._functions = [node for node in ast.walk(self._tree) if isinstance(node, Function)]
        self._fixed = {name for node in ast.walk(self._tree) for name in (*_of_fixed_length(node), *_emptied(node))}

    def lines(self, line: int, stays: bool) -> list[int]:
        """First lines of the keeping statements of the function that `line` is in, in order.

        `stays`: the function has been on the stack all the time, so that its variables live as long as the loop in it.
        """
        function = self._function(line)
        scope: ast.AST = function or self._tree
        if isinstance(function, Function) and _is_unbounded_cache(function):
            return [node.lineno for node in _inside(function) if isinstance(node, ast.Return)]
        lives_on = stays or function is None
        fresh = _assigned(scope, in_loops=lives_on) | (set() if lives_on else _assigned(scope, in_loops=False))
        outside = {
            name for node in _inside(scope) if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names
        }
        gone = (fresh - outside) | self._fixed
        found = set()
        for node in _loop_bodies(scope) if lives_on else _inside(scope):
            if isinstance(node, ast.stmt) and (kept := _container(node)) and kept not in gone:
                found.add(node.lineno)
        return sorted(found)

    def _function(self, line: int) -> Function | None:
        around = [node for node in self._functions if node.lineno <= line <= (node.end_lineno or node.lineno)]
        return max(around, key=lambda node: node.lineno, default=None)


def _inside(scope: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a function or module, without those of functions and classes in it."""
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, Function | ast.ClassDef | ast.Lambda):
            yield child
            yield from _inside(child)


def _loop_bodies(scope: ast.AST) -> Iterator[ast.AST]:
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
        return _root(call.func.value) if keeps else ""
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        return "" if _is_small(node.value) else _root(node.target)
    if isinstance(node, ast.Assign):
        if joined := _join_of(node):
            return joined
        for target in node.targets:
            if isinstance(target, ast.Subscript) and _is_new_key(target.slice) and not _is_small(node.value):
                return _root(target.value)
    return ""


def _join_of(node: ast.Assign) -> str:
    """`x` of `x = concat([x, new])`."""
    target, value = node.targets[0], node.value
    name = ast.unparse(target)
    if not isinstance(value, ast.Call) or _called(value) not in JOINS or isinstance(target, ast.Tuple):
        return ""
    return (
        _root(target)
        if any(ast.unparse(each) == name for arg in value.args for each in ast.walk(arg) if isinstance(each, ast.expr))
        else ""
    )


def _of_fixed_length(node: ast.AST) -> Iterator[str]:
    """`newest` of `losses, newest = [], deque(maxlen=9)`."""
    if not isinstance(node, ast.Assign):
        return
    for target in node.targets:
        together = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
        pairs = zip(target.elts, node.value.elts, strict=False) if together else [(target, node.value)]  # type: ignore[attr-defined]
        yield from (_root(each) for each, value in pairs if _is_fixed(value))


def _emptied(node: ast.AST) -> Iterator[str]:
    """What something is taken out of."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TAKES_OUT:
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


def _is_fixed(value: ast.expr) -> bool:
    if not isinstance(value, ast.Call) or _called(value) not in FIXED:
        return False
    return _called(value) != "deque" or len(value.args) > 1 or any(each.arg == "maxlen" for each in value.keywords)


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
