//! Bodies of requests and answers: declared once, read and written by serde, described for
//! OpenAPI.
//!
//! Runs on: the control thread.

use serde_json::{json, Value};

/// A type that can be described by a JSON schema.
pub trait Described {
    /// False when a field of this type may be left out.
    const REQUIRED: bool = true;

    /// The schema, or a reference to a named one.
    fn schema() -> Value;
}

macro_rules! described {
    ($( $type:ty => $schema:expr; )+) => {$(
        impl Described for $type {
            fn schema() -> Value {
                $schema
            }
        }
    )+};
}

described! {
    String => json!({"type": "string"});
    bool => json!({"type": "boolean"});
    u16 => json!({"type": "integer", "minimum": 0, "maximum": u16::MAX});
    u32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX});
    u64 => json!({"type": "integer", "minimum": 0});
    Value => json!({});
}

impl<T: Described> Described for Option<T> {
    const REQUIRED: bool = false;

    fn schema() -> Value {
        T::schema()
    }
}

impl<T: Described> Described for Vec<T> {
    fn schema() -> Value {
        json!({"type": "array", "items": T::schema()})
    }
}

/// Puts what a struct's fields say into a schema.
pub fn object(text: &str, fields: Vec<(&str, &str, bool, Value)>) -> Value {
    let mut properties = serde_json::Map::new();
    let mut required = Vec::new();
    for (name, text, is_required, mut schema) in fields {
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".to_owned(), text.trim().into());
        }
        if is_required {
            required.push(Value::from(name));
        }
        properties.insert(name.to_owned(), schema);
    }
    json!({
        "type": "object",
        "description": text.trim(),
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// The fields of a declared struct as parameters of a query.
pub fn parameters((_, schema): (&str, Value)) -> Vec<Value> {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let properties = schema["properties"].as_object().cloned();
    let properties = properties.unwrap_or_default().into_iter();
    properties
        .map(|(name, mut schema)| {
            let text = schema
                .as_object_mut()
                .and_then(|it| it.remove("description"));
            json!({
                "name": name,
                "in": "query",
                "required": required.contains(&Value::from(name.as_str())),
                "description": text,
                "schema": schema,
            })
        })
        .collect()
}

/// Declares a body: the struct, how it is read or written, and its description.
macro_rules! body {
    (
        $( #[doc = $text:literal] )+
        pub struct $name:ident: $derive:ident {
            $( $( #[doc = $field_text:literal] )+ $field:ident: $type:ty, )+
        }
    ) => {
        $( #[doc = $text] )+
        #[derive(Clone, Debug, serde::$derive)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $(
                $( #[doc = $field_text] )+
                pub $field: $type,
            )+
        }

        impl $crate::api::describe::Described for $name {
            fn schema() -> serde_json::Value {
                serde_json::json!({
                    "$ref": concat!("#/components/schemas/", stringify!($name)),
                })
            }
        }

        impl $name {
            /// Name and full schema.
            pub fn declaration() -> (&'static str, serde_json::Value) {
                let fields = vec![$((
                    stringify!($field),
                    concat!($($field_text),+),
                    <$type as $crate::api::describe::Described>::REQUIRED,
                    <$type as $crate::api::describe::Described>::schema(),
                ),)+];
                let text = concat!($($text),+);
                (stringify!($name), $crate::api::describe::object(text, fields))
            }
        }
    };
}

pub(super) use body;
