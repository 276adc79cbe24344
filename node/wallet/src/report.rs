//! What a command answers, for people and for machines.

use serde::Serialize;
use serde_json::{Map, Value};

/// Named values in order.
#[derive(Clone, Debug, Default)]
pub struct Report {
    fields: Vec<(&'static str, Value)>,
    whole: Option<Value>,
}

impl Report {
    /// Without values yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One JSON value, which people see indented.
    pub fn whole(value: impl Serialize) -> Self {
        Self { whole: serde_json::to_value(value).ok(), ..Self::default() }
    }

    /// Adds a value.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Serialize) -> Self {
        self.fields.push((name, serde_json::to_value(value).unwrap_or(Value::Null)));
        self
    }

    /// A value by name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match &self.whole {
            Some(whole) => whole.get(name),
            None => self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value),
        }
    }

    /// The answer as JSON.
    pub fn json(&self) -> Value {
        match &self.whole {
            Some(whole) => whole.clone(),
            None => {
                let fields = self.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }

    /// The answer as a terminal shows it: one name and value a line, or JSON on one line.
    pub fn text(&self, is_json: bool) -> String {
        if is_json {
            return self.json().to_string();
        }
        if let Some(whole) = &self.whole {
            return format!("{whole:#}");
        }
        let width = self.fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let line = |(name, value): &(&str, Value)| match value {
            Value::String(text) => format!("{name:width$}  {text}"),
            other => format!("{name:width$}  {other}"),
        };
        self.fields.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_machines_see_the_same() {
        let report = Report::new().with("hash", "0x12").with("block", 7);
        assert_eq!(report.text(false), "hash   0x12\nblock  7");
        assert_eq!(report.text(true), r#"{"block":7,"hash":"0x12"}"#);
        assert_eq!(report.get("block"), Some(&Value::from(7)));
    }
}
