"""Create the mutations of a module from its syntax tree. Pure.

Left out is what a test should not check: types, docstrings, texts, messages of errors and logs, and
options of classes that the type checker enforces.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any"}
#: Options of a class that the type checker enforces, or that change only the speed.
_CLASS_OPTIONS: Final = frozenset({"frozen", "gc", "kw_only", "slots"})
#: Calls whose removal is not a defect of the core: log messages.
_LOGGERS = frozenset({"log", "logger", "logging", "logs"})


@dataclass(frozen=True, order=True)
class Mutation:
    """The replacement of one expression or statement. Offsets are in UTF-8 bytes of the source."""

    start: int
    end: int
    line: int
    original: str
    replacement: str
    #: The first line of the mutated code, without indentation. It identifies a short ``original``.
    code: str

    def apply(self, source: str) -> str:
        """The source text with this mutation."""
        data = source.encode()
        return (data[: self.start] + self.replacement.encode() + data[self.end :]).decode()


def mutations(source: str) -> list[Mutation]:
    """All mutations of a module, in the order of the source. Each compiles."""
    lines = source.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    found: set[Mutation] = set()
    for node, mutated in _mutated_nodes(ast.parse(source)):
        if node.end_lineno is None or node.end_col_offset is None:
            continue
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        text = ast.unparse(ast.fix_missing_locations(mutated))
        mutation = Mutation(
            start=start,
            end=end,
            line=node.lineno,
            original=" ".join(source.encode()[start:end].decode().split()),
            replacement=f"({text})" if isinstance(mutated, ast.expr) else text,
            code=lines[node.lineno - 1].decode().strip(),
        )
        if _compiles(mutation.apply(source)):
            found.add(mutation)
    return sorted(found)


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


Located = ast.expr | ast.stmt


def _mutated_nodes(tree: ast.Module) -> Iterator[tuple[Located, Located]]:
    for node, function in _executable(tree, None):
        if isinstance(node, ast.expr):
            yield from ((node, mutated) for mutated in _mutated_expressions(node))
        elif isinstance(node, ast.stmt):
            yield from ((node, mutated) for mutated in _mutated_statements(node, function))


Function = ast.FunctionDef | ast.AsyncFunctionDef


def _executable(
    node: ast.AST, function: Function | None
) -> Iterator[tuple[ast.AST, Function | None]]:
    """The nodes below ``node`` that run and that a test should check, each with its function."""
    if isinstance(node, Function):
        function = node
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "type_comment"}:
            continue
        if isinstance(node, ast.Raise):  # the arguments of an error are its message
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr):
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Assign | ast.AnnAssign) and _is_type_alias(child):
                continue
            if (
                isinstance(node, ast.ClassDef)
                and isinstance(child, ast.keyword)
                and child.arg in _CLASS_OPTIONS
            ):
                continue
            yield child, function
            yield from _executable(child, function)


def _is_type_alias(node: ast.Assign | ast.AnnAssign) -> bool:
    """Whether a statement defines a type: ``Located = ast.expr | ast.stmt``."""
    value = node.value
    return (
        isinstance(value, ast.BinOp | ast.Subscript)
        and all(
            isinstance(
                part, ast.BinOp | ast.BitOr | ast.Name | ast.Attribute | ast.Load | ast.Subscript
            )
            or (isinstance(part, ast.Constant) and part.value is None)
            for part in ast.walk(value)
        )
        and isinstance(node, ast.Assign)
    )


def _mutated_expressions(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                changed = copy.deepcopy(node)
                changed.ops[index] = _COMPARISONS[type(operator)]()
                yield changed
        case ast.BoolOp(op=operator):
            other = ast.Or() if isinstance(operator, ast.And) else ast.And()
            yield ast.BoolOp(other, node.values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _ARITHMETIC:
            yield ast.BinOp(left, _ARITHMETIC[type(operator)](), right)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Call(func=ast.Name(id=name)) if name in _FUNCTIONS:
            yield ast.Call(ast.Name(_FUNCTIONS[name], ast.Load()), node.args, node.keywords)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value + 1)
        case _:
            return


def _mutated_statements(node: ast.stmt, enclosing: Function | None) -> Iterator[ast.stmt]:
    match node:
        case ast.Return(value=value) if value is not None and not _is_none(value):
            if not _returns_bool(enclosing):
                yield ast.Return(ast.Constant(None))
            elif not isinstance(value, ast.Constant):  # None would mean the same as False
                yield ast.Return(ast.UnaryOp(ast.Not(), value))
        case ast.Expr(value=ast.Call(func=function)) if not _is_logging(function):
            yield ast.Pass()
        case ast.AugAssign(target=target, op=operator, value=value) if (
            type(operator) in _ARITHMETIC
        ):
            yield ast.AugAssign(target, _ARITHMETIC[type(operator)](), value)
        case ast.Raise(exc=exception) if exception is not None:
            yield ast.Pass()
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
        case _:
            return


def _returns_bool(function: Function | None) -> bool:
    return (
        function is not None
        and isinstance(function.returns, ast.Name)
        and function.returns.id == "bool"
    )


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _is_logging(function: ast.expr) -> bool:
    while isinstance(function, ast.Attribute):
        function = function.value
    return isinstance(function, ast.Name) and function.id.strip("_").lower() in _LOGGERS
