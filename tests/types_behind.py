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
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple, TypeAlias

ROOT = Path(__file__).parents[1]
PACKAGES = ("collectors", "dashboard", "trainer")
FORMS = {"Literal", "Annotated", "Callable", "TypedDict", "Union", "NDArray"}  # what an alias without an annotation is made of

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Place: TypeAlias = tuple[str, str]  # a module, and a name at its top


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
        "collectors.logs.formats.jsonl",
        "collectors.logs.formats.entry",
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
        "dashboard.api.blame",
        "dashboard.api.stacks",
    ),
    entries=(
        "collectors.sampler.native:Native.profiles",
        "collectors.store.sqlite.stacks:write",
        "collectors.store.sqlite.engine:SqliteStore.stacks",
        "dashboard.api.blame:add_routes.blame",
    ),
)
PATHS = {"a scalar": SCALAR, "a verdict": VERDICT}


class Module:
    """What stands at the top of a file, and what its imports mean."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self._is_package = name, path.name == "__init__.py"
        self.tree = ast.parse(path.read_text())
        self.functions: dict[str, Function] = {}
        self.classes: dict[str, ast.ClassDef] = {}
        self.aliases: set[str] = set()
        self.values: dict[str, ast.expr] = {}
        self.imported: dict[str, Place] = {}
        for node in self.tree.body:
            self._take(node)
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom):
                self._take_import(node)

    @property
    def types(self) -> set[str]:
        raised = {name for name, node in self.classes.items() if any("Exception" in ast.unparse(base) for base in node.bases)}
        return {name for name in {*self.classes, *self.aliases} - raised if not name.startswith("_")}

    def nested(self, name: str) -> list[Function]:
        """`f`, or `f.g` for a function inside of it: each of them. Raises StopIteration where there is none."""
        first, *others = name.split(".")
        found = [self.functions[first]]
        for other in others:
            found.append(next(node for node in ast.walk(found[-1]) if isinstance(node, Function) and node.name == other))
        return found

    def _take(self, node: ast.stmt) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.functions[node.name] = node
            case ast.ClassDef():
                self.classes[node.name] = node
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value) if value is not None:
                if "TypeAlias" in ast.unparse(annotation):
                    self.aliases.add(name)
                else:
                    self.values[name] = annotation
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                form = value.func if isinstance(value, ast.Call) else value.value if isinstance(value, ast.Subscript) else None
                if isinstance(form, ast.Name) and form.id in FORMS:
                    self.aliases.add(name)
                else:
                    self.values[name] = value

    def _take_import(self, node: ast.ImportFrom) -> None:
        parts = self.name.split(".") if self._is_package else self.name.split(".")[:-1]
        base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])]) if node.level else node.module or ""
        if base.split(".")[0] in PACKAGES:
            self.imported |= {alias.asname or alias.name: (base, alias.name) for alias in node.names}


class Met(NamedTuple):
    """A function on the path, and the class that it is a method of, "" for none."""

    module: str
    owner: str
    function: Function
    around: tuple[Function, ...] = ()  # the functions that it stands in

    def __str__(self) -> str:
        return ".".join(filter(None, [self.module, self.owner, self.function.name]))


class Tree:
    """All modules of the packages below `root`."""

    def __init__(self, root: Path = ROOT) -> None:
        paths = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
        names = [".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for path in paths]
        self.modules = {name: Module(name, path) for name, path in zip(names, paths, strict=True)}
        self.place = cache(self._place)

    def _place(self, module: str, name: str) -> Place | None:
        """Where a name of a module is defined, through imports; a module is `(its name, "")`."""
        seen: set[Place] = set()
        while (module, name) not in seen:
            seen.add((module, name))
            if f"{module}.{name}" in self.modules:
                return f"{module}.{name}", ""
            here = self.modules.get(module)
            if here is None:
                return None
            if name in here.functions or name in here.classes or name in here.aliases or name in here.values:
                return module, name
            if name not in here.imported:
                return None
            module, name = here.imported[name]
        return None

    def named(self, module: str, node: ast.AST | None) -> set[Place]:
        """All types of ours that an annotation names."""
        found: set[Place] = set()
        for part in ast.walk(node) if node is not None else ():
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.isidentifier():
                part = ast.Name(part.value)
            place = self.of_expression(module, part) if isinstance(part, ast.Name | ast.Attribute) else None
            if place and place[1] and place[1] in {*self.modules[place[0]].classes, *self.modules[place[0]].aliases}:
                found.add(place)
        return found

    def of_expression(self, module: str, node: ast.expr) -> Place | None:
        """`Frame`, `lanes.Lanes`: where it is defined; None for what is no name of a module."""
        if isinstance(node, ast.Name):
            return self.place(module, node.id)
        if isinstance(node, ast.Attribute) and (outer := self.of_expression(module, node.value)) and not outer[1]:
            return self.place(outer[0], node.attr)
        return None

    def class_of(self, place: Place) -> ast.ClassDef | None:
        return self.modules[place[0]].classes.get(place[1])

    def member(self, place: Place, name: str) -> Iterator[tuple[Place, ast.AST]]:
        """The method, the annotation or the value of an attribute of a class or of its bases; of an alias, of each that it stands for."""
        definition = self.class_of(place)
        if definition is None:
            return
        for node in definition.body:
            match node:
                case ast.FunctionDef(name=found) | ast.AsyncFunctionDef(name=found) if found == name:
                    yield place, node
                    return
                case ast.AnnAssign(target=ast.Name(id=found), annotation=annotation) if found == name:
                    yield place, annotation
                    return
        for node in ast.walk(definition):
            for target, value in assigned(node):
                if isinstance(target, ast.Attribute) and target.attr == name and ast.unparse(target.value) == "self":
                    yield place, value
                    return
        for base in definition.bases:
            for outer in self.named(place[0], base):
                yield from self.member(outer, name)


def assigned(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """`a, self.b = 1, c` -> a and 1, self.b and c; of an annotated assignment its annotation."""
    if isinstance(node, ast.AnnAssign):
        yield node.target, node.annotation
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                yield from zip(target.elts, node.value.elts, strict=False)
            else:
                yield target, node.value


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
        arguments, named = function.args, set()
        for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]:
            if argument is not None and argument.annotation is not None:
                self._known[argument.arg] = self._tree.named(self._module, argument.annotation)
                named |= self._known[argument.arg]
        return named if isinstance(function, ast.Lambda) else named | self._tree.named(self._module, function.returns)

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
        if isinstance(node, ast.Name | ast.Attribute) and not self._is_known(node):
            place = self._tree.of_expression(self._module, node)
            if place and place[1] in self._tree.modules[place[0]].functions:
                self._walk.enter_place(place, self._met)
        if isinstance(node, ast.Attribute):
            for owner in self._classes(node.value):
                for at, member in self._tree.member(owner, node.attr):
                    self._walk.enter_method(at, member)
        if (
            isinstance(node, ast.Call)
            and not self._is_known(node.func)
            and (place := self._tree.of_expression(self._module, node.func))
        ):
            self._walk.enter_place(place, self._met)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "cls":
            self._walk.meet(self._known.get("cls", ()), self._met)

    def _is_known(self, node: ast.expr) -> bool:
        first = node
        while isinstance(first, ast.Attribute):
            first = first.value
        return isinstance(first, ast.Name) and first.id in self._known

    def _classes(self, node: ast.AST) -> set[Place]:
        """The classes that a value may be of, or hold."""
        if isinstance(node, ast.Name) and node.id in self._known:
            return self._known[node.id]
        if (
            isinstance(node, ast.Name | ast.Attribute)
            and (place := self._tree.of_expression(self._module, node))
            and not self._is_known(node)
        ):
            here = self._tree.modules[place[0]]
            if place[1] in here.functions:
                return self._tree.named(place[0], here.functions[place[1]].returns)
            if place[1] in here.values:
                return _Body(self._walk, self._tree, Met(place[0], "", self._met.function))._classes(here.values[place[1]])
            return {place} if self._tree.class_of(place) else set()
        if isinstance(node, ast.Attribute):
            return {found for owner in self._classes(node.value) for found in self._of_member(owner, node.attr)} or self._kept(node)
        if isinstance(node, ast.Call):
            called = self._classes(node.func)
            inner = [*node.args, *(keyword.value for keyword in node.keywords)]
            return called or {found for part in inner for found in self._classes(part)}
        return {found for part in ast.iter_child_nodes(node) for found in self._classes(part)}

    def _kept(self, node: ast.Attribute) -> set[Place]:
        """`rows.values()` holds what `rows` holds; `rows.t` is a column, and no row."""
        return self._classes(node.value) if node.attr in ("values", "items", "get", "pop", "popleft", "copy", "_replace") else set()

    def _of_member(self, owner: Place, name: str) -> set[Place]:
        for at, node in self._tree.member(owner, name):
            if isinstance(node, Function):
                return (
                    {owner}
                    if "Self" in ast.unparse(node.returns or node) and node.returns
                    else self._tree.named(at[0], node.returns)
                )
            named = self._tree.named(at[0], node)
            maker = next(
                (
                    method
                    for method in self._tree.class_of(at).body
                    if isinstance(method, ast.FunctionDef) and method.name == "__init__"
                ),
                None,
            )
            if isinstance(node, ast.Name) and maker:
                named |= {
                    found
                    for argument in [*maker.args.args, *maker.args.kwonlyargs]
                    if argument.arg == node.id
                    for found in self._tree.named(at[0], argument.annotation)
                }
            return {place for place in named if self._tree.class_of(place)}
        return {owner} if name in ("_replace", "_make") else set()


def types_behind(route: Route, root: Path = ROOT) -> list[str]:
    """`module.Type`, in order."""
    return sorted(".".join(place) for place in Walk(Tree(root), route).types)


if __name__ == "__main__":
    for name, route in PATHS.items():
        types = Walk(Tree(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT), route).types
        print(f"{len(types)} types behind {name}")
        for (module, kind), by in sorted(types.items()):
            print(f"  {module}.{kind}".ljust(60), by)
