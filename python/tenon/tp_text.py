# SPDX-License-Identifier: Apache-2.0
"""Reads the printed tp dialect: globals, functions and one op per line.

Made for text that the exporter or tp-opt wrote, in the forms `imported`, `graph` and with global shapes; not a general MLIR
parser. An op becomes a `TextOp` whose fields are what stands in its line, so that readers need no knowledge of assembly formats.
"""

from __future__ import annotations

import dataclasses
import re

# Words that stand before an optional operand.
OPERAND_WORDS = {"mask", "bias", "residual", "scale", "cos", "sin", "at"}

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|%[\w.#$-]+|[A-Za-z_#][\w.$#]*(?:<[^>]*>)?|-?\d[\w.+-]*|[\[{(]|[\]}),=]|.')
_TYPE = re.compile(r"tensor<((?:\d+x)*)(\w+)>")


@dataclasses.dataclass(frozen=True)
class TextType:
    shape: tuple[int, ...]
    element: str


@dataclasses.dataclass
class TextOp:
    """`operands` are plain ones in order, `named` those behind a word; `words` are kinds, `lists` integer lists in order."""

    name: str
    results: list[str]
    operands: list[str]
    named: dict[str, str]
    words: list[str]
    strings: list[str]
    lists: list[list[int]]
    attributes: dict[str, str]
    types: list[TextType]
    line: str

    @property
    def result_type(self) -> TextType:
        return self.types[-1]


@dataclasses.dataclass
class TextGlobal:
    symbol: str
    type: TextType
    attributes: dict[str, str]


@dataclasses.dataclass
class TextPort:
    name: str
    value: str
    type: TextType


@dataclasses.dataclass
class TextFunction:
    name: str
    arguments: list[TextPort]
    results: list[TextPort]
    ops: list[TextOp] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class TextModule:
    globals: dict[str, TextGlobal]
    functions: dict[str, TextFunction]


def parse_type(text: str) -> TextType:
    match = _TYPE.search(text)
    if not match:
        raise ValueError(f"expected a tensor type, found {text!r}")
    return TextType(tuple(int(n) for n in match[1].split("x") if n), match[2])


def split_top(text: str, separator: str) -> list[str]:
    """Splits where no bracket and no quote is open."""
    parts, depth, quoted, start, i = [], 0, False, 0, 0
    while i < len(text):
        c = text[i]
        if quoted:
            if c == "\\":
                i += 1
            elif c == '"':
                quoted = False
        elif c == '"':
            quoted = True
        elif c in "([{<":
            depth += 1
        elif c in ")]}" or (c == ">" and text[i - 1] != "-"):
            depth -= 1
        elif depth == 0 and text.startswith(separator, i):
            parts.append(text[start:i])
            i += len(separator)
            start = i
            continue
        i += 1
    parts.append(text[start:])
    return parts


def strip_location(line: str) -> str:
    """Cuts a trailing `loc(...)`, whose text may hold anything."""
    for m in re.finditer(r"\s+loc\(", line):
        inside = split_top(line[m.start():].lstrip() + " \0", "\0")[0].strip()
        if inside.endswith(")") and len(split_top(inside, " ")) == 1:
            return line[:m.start()]
    return line


def unquote(text: str) -> str:
    """The text behind MLIR's quotes: an escape is a backslash before itself or a quote, or two hexadecimal digits."""
    text = text.strip()
    if not text.startswith('"'):
        return text
    raw = re.sub(rb'\\(["\\]|[0-9A-Fa-f]{2})', lambda m: m[1] if len(m[1]) == 1 else bytes([int(m[1], 16)]), text[1:-1].encode())
    return raw.decode(errors="replace")


def parse_dictionary(text: str) -> dict[str, str]:
    """`{a = 1, b}` as {"a": "1", "b": ""}; values stay text."""
    found = {}
    for entry in split_top(text.strip()[1:-1], ","):
        if entry.strip():
            key, _, value = entry.partition("=")
            found[key.strip()] = value.strip()
    return found


def integers(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"-?\d+", text.partition(":")[2] if text.startswith("array<") else text)]


def parse_op(line: str) -> TextOp:
    results: list[str] = []
    if line.startswith("%"):
        left, line = line.split(" = ", 1)
        results = [r.strip() for r in left.split(",")]
    full = line
    parts = split_top(line, " : ")
    head, signature = parts[0], " : ".join(parts[1:])
    types = [parse_type(t) for t in re.findall(r"tensor<[^>]*>", signature)]
    name, _, rest = head.partition(" ")
    op = TextOp(name, results, [], {}, [], [], [], {}, types, full)
    rest = rest.strip()
    if name == "tp.constant":
        op.strings.append(rest)
        return op
    if rest.startswith("@"):
        op.words.append(rest[1:].strip())
        return op
    tokens = _tokens(rest)
    i, word = 0, None
    while i < len(tokens):
        t = tokens[i]
        following = tokens[i + 1] if i + 1 < len(tokens) else ""
        if following == "=":
            op.attributes[t] = tokens[i + 2]
            i += 3
            continue
        if t.startswith("%"):
            if word:
                op.named[word] = t
            else:
                op.operands.append(t)
            word = None
        elif t.startswith("["):
            op.lists.append(integers(t))
        elif t.startswith("{"):
            op.attributes.update(parse_dictionary(t))
        elif t.startswith('"'):
            op.strings.append(unquote(t))
        elif t in OPERAND_WORDS and not (op.name == "tp.unary" and not op.words):  # `cos` is a kind there
            word = t
        elif t != ",":
            op.words.append(t)
        i += 1
    return op


def _tokens(text: str) -> list[str]:
    """Tokens with bracketed groups kept whole."""
    tokens, i = [], 0
    while i < len(text):
        if text[i].isspace():
            i += 1
            continue
        if text[i] in "[{":
            close = {"[": "]", "{": "}"}[text[i]]
            depth, j, quoted = 0, i, False
            while True:
                if text[j] == '"':
                    quoted = not quoted
                depth += (not quoted) * ((text[j] == text[i]) - (text[j] == close))
                j += 1
                if depth == 0:
                    break
            tokens.append(text[i:j])
            i = j
            continue
        match = _TOKEN.match(text, i)
        tokens.append(match[0])
        i = match.end()
    return tokens


def parse_module(text: str) -> TextModule:
    """All globals and functions of a module."""
    module = TextModule({}, {})
    function: TextFunction | None = None
    lines = iter(text.split("\n"))
    for raw in lines:
        line = re.sub(r"^\s*//.*", "", raw).strip()
        if line.startswith("ml_program.global"):
            line = strip_location(line)
            match = re.match(r"ml_program\.global\s+(?:\w+\s+)?(?:mutable\s+)?@(\"[^\"]*\"|[\w.$]+)\s*\(.*?\)\s*:\s*(tensor<[^>]*>)\s*(.*)", line)
            if not match:
                raise ValueError(f"expected a global, found {line!r}")
            attributes = parse_dictionary(match[3]) if match[3].startswith("{") else {}
            module.globals[unquote(match[1])] = TextGlobal(unquote(match[1]), parse_type(match[2]), attributes)
        elif line.startswith("func.func"):
            while not line.rstrip().endswith("{"):
                line += " " + next(lines).strip()
            function = _parse_function(line)
            module.functions[function.name] = function
        elif function is not None and line.startswith(("return", "func.return")):
            values = strip_location(line).partition(" ")[2].partition(" : ")[0]
            for port, value in zip(function.results, values.split(",")):
                port.value = value.strip()
            function = None
        elif function is not None and line.startswith("%"):
            function.ops.append(parse_op(strip_location(line)))
    return module


def _parse_function(line: str) -> TextFunction:
    match = re.match(r"func\.func\s+(?:\w+\s+)?@(\"[^\"]*\"|[\w.$]+)\s*\(", line)
    depth, i = 1, match.end()
    quoted = False
    while depth:
        if line[i] == '"':
            quoted = not quoted
        depth += (not quoted) * ((line[i] == "(") - (line[i] == ")"))
        i += 1
    inside, rest = line[match.end():i - 1], line[i:]
    arguments = []
    for n, part in enumerate(p for p in split_top(inside, ",") if p.strip()):
        value, _, tail = part.partition(":")
        arguments.append(_port(tail, value.strip(), f"arg{n}"))
    results = []
    if "->" in rest:
        text = rest.partition("->")[2].strip()
        text = re.sub(r"\s*(attributes\s*\{.*\}\s*)?\{$", "", text).strip()
        if text.startswith("("):
            text = text[1:text.rindex(")")]
        for n, part in enumerate(p for p in split_top(text, ",") if p.strip()):
            results.append(_port(part, "", f"result{n}"))
    return TextFunction(unquote(match[1]), arguments, results)


def _port(text: str, value: str, fallback: str) -> TextPort:
    text = strip_location(text)
    brace = text.find("{", text.find(">"))
    attributes = parse_dictionary(text[brace:text.rindex("}") + 1]) if brace >= 0 else {}
    return TextPort(unquote(attributes.get("tp.name", fallback)), value, parse_type(text))
