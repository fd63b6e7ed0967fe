"""The source of the packages as a tree of names: where each is defined, and what annotations say of classes and their members."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).parents[1]
PACKAGES = ("client", "collectors", "dashboard", "integrations", "jobs", "trainer")
FORMS = {
    "Literal",
    "Annotated",
    "Callable",
    "TypedDict",
    "Union",
    "NDArray",
}  # what an alias without an annotation is made of

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Place: TypeAlias = tuple[str, str]  # a module, and a name at its top


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
        raised = {
            name for name, node in self.classes.items() if any("Exception" in ast.unparse(base) for base in node.bases)
        }
        return {name for name in {*self.classes, *self.aliases} - raised if not name.startswith("_")}

    def nested(self, name: str) -> list[Function]:
        """`f`, or `f.g` for a function inside of it: each of them. Raises StopIteration where there is none."""
        first, *others = name.split(".")
        found = [self.functions[first]]
        for other in others:
            found.append(
                next(node for node in ast.walk(found[-1]) if isinstance(node, Function) and node.name == other)
            )
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
                form = (
                    value.func
                    if isinstance(value, ast.Call)
                    else value.value
                    if isinstance(value, ast.Subscript)
                    else None
                )
                if isinstance(form, ast.Name) and form.id in FORMS:
                    self.aliases.add(name)
                else:
                    self.values[name] = value

    def _take_import(self, node: ast.ImportFrom) -> None:
        parts = self.name.split(".") if self._is_package else self.name.split(".")[:-1]
        base = (
            ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])
            if node.level
            else node.module or ""
        )
        if base.split(".")[0] in PACKAGES:
            self.imported |= {alias.asname or alias.name: (base, alias.name) for alias in node.names}


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

    def classes_of_member(self, owner: Place, name: str) -> set[Place]:
        """The classes of ours that an attribute is of or holds, or that a method answers with."""
        for (module, kind), node in self.member(owner, name):
            if isinstance(node, Function):
                return (
                    {owner}
                    if node.returns and "Self" in ast.unparse(node.returns)
                    else self.named(module, node.returns)
                )
            named = self.named(module, node) | self.named(module, self._parameter((module, kind), node))
            return {place for place in named if self.class_of(place)}
        return {owner} if name in ("_replace", "_make") else set()

    def _parameter(self, place: Place, value: ast.AST) -> ast.expr | None:
        """The annotation of the parameter of a class that an attribute is set to."""
        for _, maker in self.member(place, "__init__") if isinstance(value, ast.Name) else ():
            if isinstance(maker, Function):
                return next((one.annotation for one in arguments_of(maker) if one.arg == ast.unparse(value)), None)
        return None

    def class_of(self, place: Place) -> ast.ClassDef | None:
        return self.modules[place[0]].classes.get(place[1])

    def member(self, place: Place, name: str) -> Iterator[tuple[Place, ast.AST]]:
        """The method, the annotation or the value of an attribute of a class or of its bases; nothing for an alias."""
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


def arguments_of(function: Function | ast.Lambda) -> list[ast.arg]:
    arguments = function.args
    all_kinds = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return [argument for argument in all_kinds if argument is not None]
