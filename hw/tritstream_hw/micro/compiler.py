"""Compiler of the micro machine's programs, which are Python functions of whole numbers.

A program is modules. What they have in capitals are constants, whatever Python makes of them; their
other numbers are variables, which functions name `global`. Functions have numbers as arguments and
as result, `if`, `while`, `break`, `continue`, assignments, calls without recursion, and what
`tritstream_hw.micro.language` lists. There is no stack: a function's arguments and variables, and
the address to which it returns, have slots of their own behind those of whoever calls it.
"""

import ast
import dataclasses
import inspect
import sys
import types

from tritstream_hw.micro import language
from tritstream_hw.micro.isa import (
    PROGRAM_WORDS,
    SLOTS,
    Jump,
    Op,
    Region,
    Width,
    instruction,
    jump,
    memory_op,
)

__all__ = ["Program", "compile_program"]

_ONES = (1 << 32) - 1

_BINARY = {ast.Add: Op.ADD, ast.Sub: Op.SUB, ast.BitAnd: Op.AND, ast.BitOr: Op.OR,
           ast.BitXor: Op.XOR, ast.Mult: Op.MULTIPLY, ast.LShift: Op.LEFT,
           ast.RShift: Op.RIGHT_SIGNED}
_COMMUTATIVE = {Op.ADD, Op.AND, Op.OR, Op.XOR, Op.MULTIPLY}
_KEEPS_A = {Op.STORE, Op.SET_HIGH}

_MEMORY = {
    "read8": memory_op(Width.BYTE), "read16": memory_op(Width.HALF),
    "read_signed16": memory_op(Width.HALF_SIGNED), "read32": memory_op(Width.WORD),
    "next8": memory_op(Width.BYTE, advance=True), "next16": memory_op(Width.HALF, advance=True),
    "next_signed16": memory_op(Width.HALF_SIGNED, advance=True),
    "next32": memory_op(Width.WORD, advance=True),
    "write8": memory_op(Width.BYTE, store=True), "write16": memory_op(Width.HALF, store=True),
    "write32": memory_op(Width.WORD, store=True),
    "append8": memory_op(Width.BYTE, store=True, advance=True),
    "append16": memory_op(Width.HALF, store=True, advance=True),
    "append32": memory_op(Width.WORD, store=True, advance=True),
}
"""Operations on memory by their names in a program."""

_JUMPS = {      # kind, by whether a comparison is to be true, and whether operands change places
    ast.Eq: (Jump.ZERO, Jump.NOT_ZERO, False), ast.NotEq: (Jump.NOT_ZERO, Jump.ZERO, False),
    ast.Lt: (Jump.LESS, Jump.NOT_LESS, False), ast.GtE: (Jump.NOT_LESS, Jump.LESS, False),
    ast.Gt: (Jump.LESS, Jump.NOT_LESS, True), ast.LtE: (Jump.NOT_LESS, Jump.LESS, True),
}


@dataclasses.dataclass(frozen=True)
class Program:
    """What the bitstream sets.

    Parameters
    ----------
    words : list of int
        Instructions and tables.
    slots : list of int
        Variables and constants, up to the last that is used.
    places : dict
        Slots of the variables, by ``module.name``, and of arguments, by ``module.function.name``.
    functions : dict
        First address of each function, by ``module.name`` in the order of addresses.
    """

    words: list[int]
    slots: list[int]
    places: dict[str, int]
    functions: dict[str, int]


@dataclasses.dataclass(frozen=True)
class _Slot:
    """A slot whose number is not known yet: a constant, a global variable, or of a frame."""

    kind: str
    key: object


class _Label:
    """A place in a function."""


def compile_program(main, *, constants=None) -> Program:
    """Return the program that begins with `main`, and all that it calls.

    Parameters
    ----------
    main : function
        Without arguments; it never returns.
    constants : dict, optional
        Values, by ``module.NAME``, in place of those that the modules have.

    Raises
    ------
    SyntaxError
        A function says what there is no instruction for; where, and what.
    ValueError
        The program, or its variables, have no room.
    """
    waiting, compiled = [main], {}
    while waiting:
        function = waiting.pop()
        if function in compiled:
            continue
        compiled[function] = body = _Function(function, constants or {}, main)
        waiting += [called for called in body.calls if called not in compiled]
    return _Linker(main, compiled).link()


class _Function:
    """Code of one function: a list of labels and of `(code, slot or target)`."""

    def __init__(self, function, constants, main):
        self.function = function
        self.name = function.__name__
        self._namespace = sys.modules[function.__module__].__dict__
        self._module = function.__module__.rpartition(".")[2]
        self._constants = constants
        self._main = main
        self.code, self.calls = [], {}      # of functions, in the order of their first calls
        self._loops = []
        self._holds = set()             # slots whose word A has, too
        self._temporaries = 0           # in use
        source = inspect.getsource(function)
        self._line = function.__code__.co_firstlineno
        self._tree = ast.parse(source).body[0]
        self.arguments = [argument.arg for argument in self._tree.args.args]
        self._globals = {name for node in ast.walk(self._tree) if isinstance(node, ast.Global)
                         for name in node.names}
        stored = [node.id for node in ast.walk(self._tree)
                  if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
        self._locals = dict.fromkeys(
            [*self.arguments, *(name for name in stored if name not in self._globals)])
        self.frame = ["(return)", *self._locals]
        if function is not main:
            self._emit(Op.STORE, self._own("(return)"))
        self._body(self._tree.body)
        if function is not main and not isinstance(self._tree.body[-1], ast.Return):
            self._emit(Op.RETURN, self._own("(return)"))

    # Slots.

    def _own(self, name) -> _Slot:
        return _Slot("frame", (self.function, name))

    def _constant(self, value) -> _Slot:
        if isinstance(value, language.Table):
            return _Slot("table", value)
        if not isinstance(value, int):
            raise TypeError(f"{value!r} is no number")
        return _Slot("constant", value & _ONES)

    def _temporary(self) -> _Slot:
        name = f"({self._temporaries})"
        self._temporaries += 1
        if name not in self.frame:
            self.frame.append(name)
        return self._own(name)

    def _simple(self, node) -> _Slot | None:
        """Return the slot that a value is in without any instruction; None if there is none."""
        variable = self._variable(node)
        if variable is not None:
            return variable
        value = self._folded(node)
        return None if value is None else self._constant(value)

    def _variable(self, node) -> _Slot | None:
        if isinstance(node, ast.Name):
            if node.id in self._locals:
                return self._own(node.id)
            if _is_variable(node.id, self._namespace.get(node.id)):
                return _Slot("global", (self._module, node.id,
                                        self._namespace[node.id]))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = self._namespace.get(node.value.id)
            if isinstance(module, types.ModuleType):
                value = getattr(module, node.attr, None)
                if _is_variable(node.attr, value):
                    return _Slot("global", (module.__name__.rpartition(".")[2], node.attr, value))
        return None

    def _folded(self, node):
        """Return the value of what Python itself can compute; None if a variable is in it."""
        for part in ast.walk(node):
            if self._variable(part) is not None:
                return None
            if isinstance(part, ast.Call) and self._called(part) is not None:
                return None
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        changed = {name: self._constants[f"{self._module}.{name}"] for name in names
                   if f"{self._module}.{name}" in self._constants}
        whole = ast.fix_missing_locations(ast.Expression(node))
        return eval(compile(whole, self.name, "eval"), self._namespace | changed)

    def _called(self, node):
        """Return the function that a call is of, if it is one of programs or of the language."""
        value = None
        if isinstance(node.func, ast.Name):
            value = self._namespace.get(node.func.id)
        elif isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            value = getattr(self._namespace.get(node.func.value.id), node.func.attr, None)
        return value if isinstance(value, types.FunctionType) else None

    # Instructions.

    def _emit(self, code, where) -> None:
        self.code.append((code, where))
        if code == Op.STORE:
            self._holds.add(where)
        elif isinstance(code, Jump):
            self._holds = set()
        elif code not in _KEEPS_A:
            stores, advances = code & 1 << 4, code & 1 << 3
            if not (code & Op.MEMORY and stores):
                self._holds = set()
            elif advances:
                self._holds.discard(where)

    def _load(self, slot: _Slot) -> None:
        if slot not in self._holds:
            self._emit(Op.LOAD, slot)
            self._holds = {slot}

    def _store(self, slot: _Slot) -> None:
        self._holds.discard(slot)
        self._emit(Op.STORE, slot)

    def _place(self, label: _Label) -> None:
        self.code.append(label)
        self._holds = set()

    # Statements.

    def _body(self, nodes) -> None:
        for node in nodes:
            self._temporaries = 0
            method = getattr(self, f"_do_{type(node).__name__.lower()}", None)
            if method is None:
                raise self._error(node, "there is no such statement")
            method(node)

    def _error(self, node, what: str) -> SyntaxError:
        line = self._line + node.lineno - 1
        return SyntaxError(f"{self._module}.{self.name}, line {line}: {what}: "
                           f"{ast.unparse(node)[:80]}")

    def _do_global(self, node) -> None:
        pass

    def _do_pass(self, node) -> None:
        pass

    def _do_expr(self, node) -> None:
        if isinstance(node.value, ast.Constant):
            return                      # a docstring
        self._value(node.value)

    def _do_assign(self, node) -> None:
        target = self._variable(node.targets[0])
        if target is None or len(node.targets) > 1:
            raise self._error(node, "one variable is assigned at a time")
        self._value(node.value)
        self._store(target)

    def _do_augassign(self, node) -> None:
        read = ast.copy_location(ast.parse(ast.unparse(node.target), mode="eval").body, node)
        value = ast.copy_location(ast.BinOp(read, node.op, node.value), node)
        self._value(value)
        self._store(self._variable(node.target))

    def _do_return(self, node) -> None:
        if node.value is not None:
            self._value(node.value)
        self._emit(Op.RETURN, self._own("(return)"))

    def _do_if(self, node) -> None:
        otherwise, end = _Label(), _Label()
        self._condition(node.test, otherwise, False)
        self._body(node.body)
        if node.orelse:
            if not isinstance(node.body[-1], ast.Return | ast.Break | ast.Continue):
                self._emit(Jump.ALWAYS, end)
            self._place(otherwise)
            self._body(node.orelse)
        else:
            self._place(otherwise)
        self._place(end)

    def _do_while(self, node) -> None:
        start, end = _Label(), _Label()
        self._loops.append((start, end))
        self._place(start)
        self._condition(node.test, end, False)
        self._body(node.body)
        self._emit(Jump.ALWAYS, start)
        self._place(end)
        self._loops.pop()

    def _do_break(self, node) -> None:
        self._emit(Jump.ALWAYS, self._loops[-1][1])

    def _do_continue(self, node) -> None:
        self._emit(Jump.ALWAYS, self._loops[-1][0])

    # Conditions: jump to `label` if the truth of `node` is `when`.

    def _condition(self, node, label: _Label, when: bool) -> None:
        if isinstance(node, ast.Constant):
            if bool(node.value) == when:
                self._emit(Jump.ALWAYS, label)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self._condition(node.operand, label, not when)
        elif isinstance(node, ast.BoolOp):
            self._several(node, label, when)
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in _JUMPS:
            self._comparison(node, label, when)
        elif isinstance(node, ast.Call) and self._called(node) is language.below:
            self._binary(Op.SUB, *node.args)
            self._emit(Jump.NOT_CARRY if when else Jump.CARRY, label)
        else:
            self._value(node)
            self._emit(Jump.NOT_ZERO if when else Jump.ZERO, label)

    def _several(self, node, label, when) -> None:
        decides = isinstance(node.op, ast.Or)       # the truth of one that is that of all
        skipped = _Label()
        for part in node.values[:-1]:
            self._condition(part, label if when == decides else skipped, decides)
        self._condition(node.values[-1], label, when)
        self._place(skipped)

    def _comparison(self, node, label, when) -> None:
        true, false, swapped = _JUMPS[type(node.ops[0])]
        operands = [node.left, node.comparators[0]]
        if swapped:
            operands.reverse()
        if true in (Jump.ZERO, Jump.NOT_ZERO) and self._simple(operands[1]) == self._constant(0):
            self._value(operands[0])
        else:
            self._binary(Op.SUB, *operands)
        self._emit(true if when else false, label)

    # Values, which end in A.

    def _value(self, node) -> None:
        slot = self._simple(node)
        if slot is not None:
            self._load(slot)
        elif isinstance(node, ast.BinOp):
            if type(node.op) not in _BINARY:
                raise self._error(node, "there is no such operation")
            self._binary(_BINARY[type(node.op)], node.left, node.right)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            self._binary(Op.SUB, ast.Constant(0), node.operand)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
            self._binary(Op.XOR, node.operand, ast.Constant(-1))
        elif isinstance(node, ast.Compare | ast.BoolOp | ast.UnaryOp):
            self._truth(node)
        elif isinstance(node, ast.Call):
            self._call(node)
        else:
            raise self._error(node, "there is no such value")

    def _truth(self, node) -> None:
        no, end = _Label(), _Label()
        self._condition(node, no, False)
        self._load(self._constant(1))
        self._emit(Jump.ALWAYS, end)
        self._place(no)
        self._load(self._constant(0))
        self._place(end)

    def _operand(self, node) -> _Slot:
        """Return a slot with a value; what takes instructions goes to a temporary one."""
        slot = self._simple(node)
        if slot is None:
            self._value(node)
            slot = self._temporary()
            self._store(slot)
        return slot

    def _binary(self, op: Op, left, right) -> None:
        if op in _COMMUTATIVE and self._simple(right) is None and self._simple(left) is not None:
            left, right = right, left
        if self._simple(left) is None and any(isinstance(p, ast.Call) for p in ast.walk(right)):
            first = self._operand(left)         # what it does comes first
            second = self._operand(right)
            self._load(first)
        else:
            second = self._operand(right)
            self._value(left)
        self._emit(op, second)

    def _has_call(self, node) -> bool:
        return any(isinstance(part, ast.Call) and self._called(part) is not None
                   and self._called(part).__module__ != language.__name__
                   for part in ast.walk(node))

    def _call(self, node) -> None:
        called = self._called(node)
        if called is None:
            raise self._error(node, "there is no such function")
        if called.__module__ == language.__name__:
            if called.__name__ in _MEMORY:
                self._memory(_MEMORY[called.__name__], node)
            else:
                getattr(self, f"_call_{called.__name__}")(*node.args)
            return
        names = list(inspect.signature(called).parameters)
        if len(names) != len(node.args):
            raise self._error(node, f"{called.__name__} has {len(names)} arguments")
        self.calls[called] = None
        slots = [_Slot("frame", (called, name)) for name in names]
        # What calls functions itself may use the same slots, so that it comes first.
        first = [n for n, argument in enumerate(node.args) if self._has_call(argument)]
        kept = {n: self._operand(node.args[n]) for n in first[:-1]}
        for n in [*first[-1:], *(n for n in range(len(slots)) if n not in first)]:
            self._value(node.args[n])
            self._store(slots[n])
        for n, slot in kept.items():
            self._load(slot)
            self._store(slots[n])
        self._emit(Jump.CALL, called)

    def _memory(self, code: int, node) -> None:
        address = self._operand(node.args[0])
        if code & 1 << 4:
            self._value(node.args[1])
        if code & 1 << 3 and self._variable(node.args[0]) is None:
            raise self._error(node, "only a variable moves")
        self._emit(code, address)

    def _call_add_carry(self, a, b) -> None:
        # Nothing may come between that has a carry itself.
        self._load(self._simple(a))
        self._emit(Op.ADD_CARRY, self._simple(b))

    def _call_crc(self, value, byte) -> None:
        self._binary(Op.CRC, value, byte)

    def _call_multiply(self, a, b) -> None:
        self._binary(Op.MULTIPLY, a, b)

    def _call_high(self) -> None:
        self._emit(Op.HIGH, self._constant(0))

    def _pair(self, op: Op, upper, lower, places) -> None:
        count, high = self._operand(places), self._operand(upper)
        self._value(lower)
        self._emit(Op.SET_HIGH, high)
        self._emit(op, count)

    def _call_right_pair(self, upper, lower, places) -> None:
        self._pair(Op.RIGHT_PAIR, upper, lower, places)

    def _call_left_pair(self, upper, lower, places) -> None:
        self._pair(Op.LEFT, upper, lower, places)

    def _call_unsigned_right(self, a, places) -> None:
        self._binary(Op.RIGHT, a, places)

    def _call_rounded(self, a, places) -> None:
        self._binary(Op.RIGHT_SIGNED, a, places)
        self._emit(Op.ADD_CARRY, self._constant(0))

    def _call_rounded_product(self, a, b, places) -> None:
        count = self._operand(places)
        self._binary(Op.MULTIPLY, a, b)
        self._emit(Op.RIGHT_PAIR, count)
        self._emit(Op.ADD_CARRY, self._constant(0))

    def _call_dot(self, codes, activations, columns) -> None:
        where, first = self._operand(codes), self._operand(activations)
        self._value(columns)
        self._emit(Op.SET_HIGH, first)
        self._emit(Op.DOT, where)

    def _call_restart(self) -> None:
        self._emit(Jump.ALWAYS, self._main)


def _is_variable(name: str, value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and name == name.lower()


def _name(function) -> str:
    return f"{function.__module__.rpartition('.')[2]}.{function.__name__}"


class _Linker:
    """Gives every function an address, and every slot a number."""

    def __init__(self, main, functions: dict):
        self._functions = {main: functions[main], **functions}
        self._numbers = {}
        self._values = []

    def link(self) -> Program:
        """Return the program."""
        self._bases = {}
        self._order(next(iter(self._functions)), ())
        starts, address = {}, 0
        for function, body in self._functions.items():
            starts[function] = address
            for entry in body.code:
                if isinstance(entry, _Label):
                    starts[entry] = address
                else:
                    address += 1
        tables, halves = {}, []
        for slot in self._slots_of("table"):
            tables[slot] = Region.PROGRAM.base + 2 * (address + len(halves))
            halves += slot.key.halves
        if address + len(halves) > PROGRAM_WORDS:
            raise ValueError(f"the program has {address + len(halves)} words, of {PROGRAM_WORDS}")
        self._number(tables)
        words = [self._word(*entry, starts) for body in self._functions.values()
                 for entry in body.code if not isinstance(entry, _Label)]
        places = {f"{slot.key[0]}.{slot.key[1]}": number
                  for slot, number in self._numbers.items() if slot.kind == "global"}
        names = {_name(function): starts[function] for function in self._functions}
        places |= {f"{_name(slot.key[0])}.{slot.key[1]}": number
                   for slot, number in self._numbers.items() if slot.kind == "frame"}
        return Program(words + halves, self._values, places, names)

    def _slots_of(self, kind: str) -> list[_Slot]:
        return list(dict.fromkeys(
            entry[1] for body in self._functions.values() for entry in body.code
            if not isinstance(entry, _Label) and isinstance(entry[1], _Slot)
            and entry[1].kind == kind))

    def _order(self, function, callers) -> None:
        """Find where frames begin: behind those of all callers."""
        if function in callers:
            raise ValueError(f"{function.__name__} calls itself")
        base = self._bases.setdefault(function, 0)
        end = base + len(self._functions[function].frame)
        for called in self._functions[function].calls:
            if self._bases.get(called, -1) < end:
                self._bases[called] = end
                self._order(called, (*callers, function))

    def _number(self, tables) -> None:
        fixed = [(slot, slot.key) for slot in self._slots_of("constant")]
        fixed += tables.items()
        fixed += [(slot, slot.key[2] & _ONES) for slot in self._slots_of("global")]
        for slot, value in fixed:
            self._numbers[slot] = len(self._values)
            self._values.append(value)
        for slot in self._slots_of("frame"):
            function, name = slot.key
            self._numbers[slot] = (len(fixed) + self._bases[function]
                                   + self._functions[function].frame.index(name))
        used = 1 + max(self._numbers.values(), default=-1)
        if used > SLOTS:
            raise ValueError(f"the program has {used} variables and constants, of {SLOTS}")
        self._values += [0] * (used - len(self._values))

    def _word(self, code, where, starts) -> int:
        if isinstance(code, Jump):
            return jump(code, starts[where])
        return instruction(code, self._numbers[where])
