"""Turns codes.toml and events.toml into Rust, TypeScript and Markdown."""

import json

HEADER = "Written by protocol/schema/generate from {}; do not edit."


def check(codes: dict, events: list) -> None:
    """Refuses tables that break their own rules."""
    for kind in ("error", "close"):
        for field in ("code", "name"):
            values = [row[field] for row in codes[kind]]
            assert len(values) == len(set(values)), f"{kind}: {field} is used twice"
        numbers = [row["code"] for row in codes[kind]]
        assert numbers == sorted(numbers), f"{kind}: rows are not in order of their codes"
    for row in codes["close"]:
        code, reconnect = row["code"], row["reconnect"]
        if code >= 3000:
            assert reconnect == (code < 3500), f"close {code}: reconnect is fixed by its range"
    pairs = [(row["number"], row["version"]) for row in events]
    assert len(pairs) == len(set(pairs)), "event: a number and version is used twice"
    assert all(row["number"] > 0 and row["version"] > 0 for row in events), "event: 0 is reserved"


def camel(name: str) -> str:
    """`token_invalid` as `TokenInvalid`."""
    return "".join(part.capitalize() for part in name.split("_"))


def quoted(text: str) -> str:
    """A string literal for Rust and TypeScript."""
    return json.dumps(text, ensure_ascii=False)


def rust_enum(name: str, opening: str, rows: list, flags: dict) -> str:
    """One enum of codes with its accessors."""
    out = [f"/// {opening}\n#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]"]
    out.append(f"#[repr(u16)]\npub enum {name} {{")
    for row in rows:
        out.append(f"    /// {row['meaning']}")
        out.append(f"    {camel(row['name'])} = {row['code']},")
    out.append(f"}}\n\nimpl {name} {{\n    /// Every code, in order of its number.")
    out.append(f"    pub const ALL: [Self; {len(rows)}] = [")
    out += [f"        Self::{camel(row['name'])}," for row in rows]
    out.append("    ];\n\n    /// The number on the wire.")
    out.append("    pub const fn number(self) -> u16 {\n        self as u16\n    }")
    out.append("\n    /// The code of a number; `None` when the table has none.")
    out.append("    pub const fn from_number(number: u16) -> Option<Self> {")
    out.append("        Some(match number {")
    out += [f"            {row['code']} => Self::{camel(row['name'])}," for row in rows]
    out.append("            _ => return None,\n        })\n    }")
    for field, text in (
        ("name", "The stable name, for logs and metrics."),
        ("meaning", "What the code says."),
        ("cause", "What usually leads to it."),
        ("cure", "What to do about it."),
    ):
        out.append(f"\n    /// {text}\n    pub const fn {field}(self) -> &'static str {{")
        out.append("        match self {")
        out += [f"            Self::{camel(r['name'])} => {quoted(r[field])}," for r in rows]
        out.append("        }\n    }")
    for field, (method, text) in flags.items():
        yes = [row for row in rows if row[field]]
        out.append(f"\n    /// {text}\n    pub const fn {method}(self) -> bool {{")
        out.append("        matches!(\n            self,")
        arms = [f"Self::{camel(row['name'])}" for row in yes]
        out.append("            " + "\n                | ".join(arms))
        out.append("        )\n    }")
    out.append("}\n")
    return "\n".join(out)


def codes_rust(codes: dict) -> str:
    """codes.toml as Rust."""
    out = ["//! Error codes and close codes.\n//!\n//! " + HEADER.format("codes.toml") + "\n"]
    out.append(rust_enum(
        "ErrorCode", "Why a request was refused or failed.", codes["error"],
        {"temporary": ("is_temporary", "True when the same request may succeed later.")}))
    out.append(rust_enum(
        "CloseCode", "Why a connection was closed (RFC 6455 section 7.4).", codes["close"],
        {"reconnect": ("reconnects", "True when an SDK connects again by itself."),
         "sent": ("is_sent", "False for codes that only a local library reports.")}))
    return "\n".join(out)


def events_rust(events: list) -> str:
    """events.toml as Rust."""
    out = ["//! The core event types.\n//!\n//! " + HEADER.format("events.toml") + "\n"]
    out.append("use crate::interlink::events;")
    out.append("use flatbuffers::{InvalidFlatbuffer, VerifierOptions};\n")
    out.append("/// One version of one event type.\n#[derive(Clone, Copy, Debug)]")
    out.append("pub struct EventTypeRow {")
    for line, field in (
        ("`event_type` on the wire.", "number: u16"),
        ("`schema_version` on the wire.", "version: u16"),
        ("Stable name.", "name: &'static str"),
        ("Namespaces on whose channels the type may be published.",
         "namespaces: &'static [&'static str]"),
        ("Verifies that a payload has the form of the type.",
         "verify: fn(&VerifierOptions, &[u8]) -> Result<(), InvalidFlatbuffer>"),
    ):
        out.append(f"    /// {line}\n    pub {field},")
    out.append("}\n\n/// Every row of events.toml, in its order.")
    out.append(f"pub const EVENT_TYPES: [EventTypeRow; {len(events)}] = [")
    for row in events:
        names = ", ".join(quoted(name) for name in row["namespaces"])
        out.append(f"    EventTypeRow {{\n        number: {row['number']},")
        out.append(f"        version: {row['version']},\n        name: {quoted(row['name'])},")
        out.append(f"        namespaces: &[{names}],")
        out.append("        verify: |options, payload| {")
        view = f"flatbuffers::root_with_opts::<events::{row['table']}>"
        out.append(f"            {view}(options, payload).map(drop)")
        out.append("        },\n    },")
    out.append("];\n")
    for row in events:
        version = "" if row["version"] == 1 else f"_V{row['version']}"
        if not version:
            out.append(f"/// Number of the event type `{row['name']}`.")
            out.append(f"pub const {row['name'].upper()}: u16 = {row['number']};")
    return "\n".join(out) + "\n"


def codes_typescript(codes: dict) -> str:
    """codes.toml as TypeScript."""
    out = ["// " + HEADER.format("codes.toml") + "\n"]
    kinds = (
        ("error", "ErrorCode", ["temporary"]),
        ("close", "CloseCode", ["reconnect", "sent"]),
    )
    for kind, name, flags in kinds:
        out.append(f"export enum {name} {{")
        for row in codes[kind]:
            out.append(f"  /** {row['meaning']} */\n  {camel(row['name'])} = {row['code']},")
        out.append(f"}}\n\nexport interface {name}Row {{\n  readonly code: {name};")
        texts = ("name", "meaning", "cause", "cure")
        out += [f"  readonly {field}: string;" for field in texts]
        out += [f"  readonly {flag}: boolean;" for flag in flags]
        out.append(f"}}\n\nexport const {kind}Codes: ReadonlyMap<number, {name}Row> = new Map([")
        for row in codes[kind]:
            out.append(f"  [{row['code']}, {{\n    code: {name}.{camel(row['name'])},")
            out += [f"    {field}: {quoted(row[field])}," for field in texts]
            out += [f"    {flag}: {str(row[flag]).lower()}," for flag in flags]
            out.append("  }],")
        out.append("]);\n")
    return "\n".join(out)


def events_typescript(events: list) -> str:
    """events.toml as TypeScript."""
    out = ["// " + HEADER.format("events.toml") + "\n"]
    out.append("export interface EventTypeRow {\n  readonly number: number;")
    out.append("  readonly version: number;\n  readonly name: string;")
    out.append("  readonly namespaces: readonly string[];\n}\n")
    out.append("export const eventTypes: readonly EventTypeRow[] = [")
    for row in events:
        names = ", ".join(quoted(name) for name in row["namespaces"])
        out.append(f"  {{ number: {row['number']}, version: {row['version']}, "
                   f"name: {quoted(row['name'])}, namespaces: [{names}] }},")
    out.append("];\n")
    return "\n".join(out)


def codes_markdown(codes: dict) -> str:
    """codes.toml as the error catalogue."""
    out = ["# Error catalogue\n", HEADER.format("protocol/schema/codes.toml") + "\n"]
    kinds = (
        ("error", "Error codes", "temporary",
         "In `Error.code`, `PublishAck.code` and `SubscribedChannel.code`.",
         "temporary: the same request may succeed later", "permanent"),
        ("close", "Close codes", "reconnect",
         "In the WebSocket close frame. 3000-3499 reconnect, 3500-3999 are final.",
         "SDKs reconnect by themselves", "final: SDKs do not reconnect by themselves"),
    )
    for kind, title, flag, text, yes, no in kinds:
        out.append(f"## {title}\n\n{text}\n")
        for row in codes[kind]:
            out.append(f"### {row['code']} {row['name']}\n\n{row['meaning']}\n")
            local = "" if row.get("sent", True) else "; never on the wire"
            out.append(f"- Kind: {yes if row[flag] else no}{local}")
            out.append(f"- Cause: {row['cause']}\n- Cure: {row['cure']}\n")
    return "\n".join(out)
