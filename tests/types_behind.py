"""Count the public types that a newcomer meets behind one scalar, and behind one verdict: `python -m tests.types_behind`.

A path is a list of files and the functions at which it enters them. From these it is followed into every function, method and
property of the path's files that is called or handed on: through imports, and through what annotations say of parameters, attributes
and answers. What is called through a protocol enters where the path says so.

A type is met where a function on the path names it in its signature, or builds it. It counts once, and it counts when it is ours and
public: a class (named tuples, dataclasses, typed dicts and protocols among them) or a type alias at the top of a module of `collectors`,
`dashboard` or `trainer`, without an underscore. Exceptions do not count, since nothing is raised on the way; nor do types of fields
that no function on the path names.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from tests.source_tree import ROOT, Function, Place, Tree, arguments_of, assigned

HANDED_ON = ("values", "items", "get", "pop", "popleft", "copy")  # `rows.values()` holds what `rows` holds


class Route(NamedTuple):
    """From where to where something goes. `entries`: `module:name` or `module:Class.method`."""

    files: tuple[str, ...]
    entries: tuple[str, ...]


SCALAR = Route(
    files=(
        "trainer.run_log",
        "trainer.phases",
        "trainer.log.log_file",
        "collectors.records",
        "collectors.logs.tail",
        "collectors.logs.followed",
        "collectors.logs.known",
        "collectors.logs.formats",
        "collectors.logs.formats.json_lines",
        "collectors.logs.formats.jsonl",
        "collectors.logs.formats.text.entry",
        "collectors.logs.formats.values",
        "collectors.store.buckets",
        "collectors.store.sqlite.engine",
        "collectors.store.sqlite.ingest",
        "collectors.store.sqlite.compact",
        "collectors.store.sqlite.points",
        "collectors.store.sqlite.search",
        "collectors.store.sqlite.columns.head",
        "collectors.store.sqlite.columns.groups",
        "collectors.store.sqlite.columns.chunks",
        "collectors.store.sqlite.columns.pages",
        "collectors.store.sqlite.columns.codec",
        "dashboard.queries",
        "dashboard.live",
        "dashboard.subscription",
        "dashboard.api.answer",
        "dashboard.api.points",
        "dashboard.api.messages",
    ),
    entries=(
        "trainer.run_log:RunLog.scalars",
        "trainer.run_log:RunLog._write",
        "collectors.logs.tail:Tail._read_on",
        "collectors.logs.formats.json_lines:JsonLines.parse",
        "collectors.logs.formats.jsonl:Metrics.parse",
        "collectors.store.sqlite.engine:SqliteStore.append",
        "collectors.store.sqlite.engine:SqliteStore.compact",
        "collectors.store.sqlite.engine:SqliteStore.range",
        "collectors.store.sqlite.engine:SqliteStore.since",
        "dashboard.queries:Queries.curves",
        "dashboard.queries:Queries.since",
        "dashboard.api.points:add_routes.points",
        "dashboard.live:Hub.since",
        "dashboard.live:Client.listen",
        "dashboard.live:Client._send_delta",
    ),
)
VERDICT = Route(
    files=(
        "collectors.records",
        "collectors.sampler",
        "collectors.sampler.native",
        "collectors.sampler.stream",
        "collectors.store.sqlite.engine",
        "collectors.store.sqlite.stacks",
        "collectors.analysis.*",
        "dashboard.queries",
        "dashboard.stacks",
        "dashboard.api.answer",
        "dashboard.api.judged.blame",
        "dashboard.api.stacks",
    ),
    entries=(
        "collectors.sampler.native:Native.profiles",
        "collectors.store.sqlite.stacks:StackWriter.write",
        "collectors.store.sqlite.engine:SqliteStore.stacks",
        "dashboard.api.judged.blame:add_routes.blame",
    ),
)
PATHS = {"a scalar": SCALAR, "a verdict": VERDICT}


class Met(NamedTuple):
    """A function on the path, and the class that it is a method of, "" for none."""

    module: str
    owner: str
    function: Function
    around: tuple[Function, ...] = ()  # the functions that it stands in

    def __str__(self) -> str:
        return ".".join(filter(None, [self.module, self.owner, self.function.name]))


class Walk:
    """Everything that is met from the entries of a route on."""

    def __init__(self, tree: Tree, route: Route) -> None:
        self._tree, self._route = tree, route
        self.types: dict[Place, Met] = {}  # with the function that names it first
        self.functions: dict[tuple[str, str, str], Met] = {}
        self._waiting: list[Met] = []
        for entry in route.entries:
            module, _, name = entry.partition(":")
            owner, _, last = name.rpartition(".")
            if owner in tree.modules[module].classes:
                self._enter_member((module, owner), last)
            else:
                *around, function = tree.modules[module].nested(name)
                self._enter(Met(module, "", function, tuple(around)))
        while self._waiting:
            _Body(self, self._tree, self._waiting.pop()).walk()

    @cached_property
    def _files(self) -> set[str]:
        folders = [file.removesuffix("*") for file in self._route.files if file.endswith("*")]
        inside = {name for name in self._tree.modules if name.startswith(tuple(folders))} if folders else set()
        return inside | set(self._route.files)

    def meet(self, places: Iterable[Place], by: Met) -> None:
        for place in places:
            if place[1] in self._tree.modules[place[0]].types:
                self.types.setdefault(place, by)

    def enter_place(self, place: Place, by: Met) -> None:
        """A function is entered; of a class that is built, what its making runs."""
        if function := self._tree.modules[place[0]].functions.get(place[1]):
            self._enter(Met(place[0], "", function))
        elif self._tree.class_of(place):
            self.meet([place], by)
            for maker in ("__init__", "__post_init__"):
                self._enter_member(place, maker)

    def _enter_member(self, place: Place, name: str) -> None:
        for owner, node in self._tree.member(place, name):
            self.enter_method(owner, node)

    def enter_method(self, owner: Place, node: ast.AST) -> None:
        if isinstance(node, Function):
            self._enter(Met(*owner, node))

    def _enter(self, met: Met) -> None:
        key = met.module, met.owner, met.function.name
        if met.module in self._files and key not in self.functions:
            self.functions[key] = met
            self._waiting.append(met)


class _Body:
    """One function: what it names, builds and calls. A variable is known by the classes that its value may hold, containers aside."""

    def __init__(self, walk: Walk, tree: Tree, met: Met) -> None:
        self._walk, self._tree, self._module, self._met = walk, tree, met.module, met
        self._known: dict[str, set[Place]] = {}
        if met.owner:
            self._known["self"] = self._known["cls"] = {(met.module, met.owner)}

    def walk(self) -> None:
        for function in self._met.around:
            self._learn_signature(function)
        for function in ast.walk(self._met.function):
            if isinstance(function, Function | ast.Lambda):
                self._walk.meet(self._learn_signature(function), self._met)
        nodes = [node for statement in self._met.function.body for node in ast.walk(statement)]
        for _ in range(3):  # until what is assigned later is known, too
            for node in nodes:
                self._learn(node)
        for node in nodes:
            self._follow(node)

    def _learn_signature(self, function: Function | ast.Lambda) -> set[Place]:
        """What it names."""
        for argument in arguments_of(function):
            self._known[argument.arg] = self._tree.named(self._module, argument.annotation) or self._known.get(argument.arg, set())
        annotations = [argument.annotation for argument in arguments_of(function)]
        annotations += [] if isinstance(function, ast.Lambda) else [function.returns]
        return {place for annotation in annotations for place in self._tree.named(self._module, annotation)}

    def _learn(self, node: ast.AST) -> None:
        match node:
            case ast.For() | ast.AsyncFor() | ast.comprehension():
                self._bind(node.target, self._classes(node.iter))
            case ast.NamedExpr():
                self._bind(node.target, self._classes(node.value))
            case ast.withitem(optional_vars=ast.expr() as target):
                self._bind(target, self._classes(node.context_expr))
            case ast.Assign() | ast.AnnAssign():
                for target, value in assigned(node):
                    known = self._tree.named(self._module, value) if isinstance(node, ast.AnnAssign) else self._classes(value)
                    self._bind(target, known)

    def _bind(self, target: ast.expr, classes: set[Place]) -> None:
        for node in ast.walk(target):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self._known[node.id] = self._known.get(node.id, set()) | classes

    def _follow(self, node: ast.AST) -> None:
        place = self._place(node)
        if place and place[1] in self._tree.modules[place[0]].functions:
            self._walk.enter_place(place, self._met)
        if isinstance(node, ast.Attribute):
            for owner in self._classes(node.value):
                for at, member in self._tree.member(owner, node.attr):
                    self._walk.enter_method(at, member)
        if isinstance(node, ast.Call) and (built := self._place(node.func)):
            self._walk.enter_place(built, self._met)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "cls":
            self._walk.meet(self._known.get("cls", ()), self._met)

    def _place(self, node: ast.AST) -> Place | None:
        """Where a name that is no variable here is defined."""
        first = node
        while isinstance(first, ast.Attribute):
            first = first.value
        if not isinstance(node, ast.Name | ast.Attribute) or (isinstance(first, ast.Name) and first.id in self._known):
            return None
        return self._tree.of_expression(self._module, node)

    def _classes(self, node: ast.AST) -> set[Place]:
        """The classes that a value may be of, or hold."""
        if isinstance(node, ast.Name) and node.id in self._known:
            return self._known[node.id]
        if place := self._place(node):
            return self._classes_at(place)
        if isinstance(node, ast.Attribute):
            owners = self._classes(node.value)
            found = {found for owner in owners for found in self._tree.classes_of_member(owner, node.attr)}
            return found or (owners if node.attr in HANDED_ON else set())
        if isinstance(node, ast.Call) and (called := self._classes(node.func)):
            return called
        parts = [*node.args, *node.keywords] if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
        return {found for part in parts for found in self._classes(part)}

    def _classes_at(self, place: Place) -> set[Place]:
        module = self._tree.modules[place[0]]
        if place[1] in module.functions:
            return self._tree.named(place[0], module.functions[place[1]].returns)
        if place[1] in module.values:
            return _Body(self._walk, self._tree, Met(place[0], "", self._met.function))._classes(module.values[place[1]])
        return {place} if self._tree.class_of(place) else set()


def types_behind(route: Route, root: Path = ROOT) -> list[str]:
    """`module.Type`, in order."""
    return sorted(".".join(place) for place in Walk(tree_of(root), route).types)


tree_of = cache(Tree)


if __name__ == "__main__":
    for name, route in PATHS.items():
        types = Walk(tree_of(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT), route).types
        print(f"{len(types)} types behind {name}")
        for (module, kind), by in sorted(types.items()):
            print(f"  {module}.{kind}".ljust(60), by)
