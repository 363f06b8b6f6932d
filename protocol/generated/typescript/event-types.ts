// Written by protocol/schema/generate from events.toml; do not edit.

export interface EventTypeRow {
  readonly number: number;
  readonly version: number;
  readonly name: string;
  readonly namespaces: readonly string[];
}

export const eventTypes: readonly EventTypeRow[] = [
  { number: 1, version: 1, name: "authentication", namespaces: ["alert", "sys"] },
  { number: 2, version: 1, name: "security_alert", namespaces: ["alert", "sys"] },
  { number: 3, version: 1, name: "chat_message", namespaces: ["chat", "class", "dept", "inst"] },
  { number: 4, version: 1, name: "announcement", namespaces: ["inst", "dept", "class", "sys"] },
  { number: 5, version: 1, name: "course_update", namespaces: ["inst", "dept", "class", "user"] },
  { number: 6, version: 1, name: "assignment", namespaces: ["dept", "class", "user"] },
  { number: 7, version: 1, name: "notification", namespaces: ["user", "sys"] },
  { number: 8, version: 1, name: "presence_status", namespaces: ["presence", "collab-awareness", "activity"] },
  { number: 9, version: 1, name: "usage_sample", namespaces: ["usage", "sys"] },
  { number: 10, version: 1, name: "data_record_changed", namespaces: ["inst", "dept", "class", "user", "collab", "report"] },
  { number: 11, version: 1, name: "collaboration_operation", namespaces: ["collab", "collab-awareness"] },
  { number: 12, version: 1, name: "user_action", namespaces: ["activity"] },
  { number: 13, version: 1, name: "node_status", namespaces: ["sys"] },
  { number: 14, version: 1, name: "node_summary", namespaces: ["sys"] },
];
