//! KEDA's messages, as `proto/externalscaler.proto` has them. A test holds the two equal.

use std::collections::BTreeMap;

/// Which object asks, and its trigger's metadata.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ScaledObjectRef {
    /// The object's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its namespace.
    #[prost(string, tag = "2")]
    pub namespace: String,
    /// The trigger's metadata.
    #[prost(btree_map = "string, string", tag = "3")]
    pub scaler_metadata: BTreeMap<String, String>,
}

/// Whether there should be replicas at all.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct IsActiveResponse {
    /// Whether there should.
    #[prost(bool, tag = "1")]
    pub result: bool,
}

/// Which numbers count.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetMetricSpecResponse {
    /// The numbers.
    #[prost(message, repeated, tag = "1")]
    pub metric_specs: Vec<MetricSpec>,
}

/// A number, and one replica's share of it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MetricSpec {
    /// Its name.
    #[prost(string, tag = "1")]
    pub metric_name: String,
    /// The share, as older versions read it.
    #[prost(int64, tag = "2")]
    pub target_size: i64,
    /// The share.
    #[prost(double, tag = "3")]
    pub target_size_float: f64,
}

/// Asks for a number.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetMetricsRequest {
    /// Who asks.
    #[prost(message, optional, tag = "1")]
    pub scaled_object_ref: Option<ScaledObjectRef>,
    /// For which.
    #[prost(string, tag = "2")]
    pub metric_name: String,
}

/// Numbers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetMetricsResponse {
    /// The numbers.
    #[prost(message, repeated, tag = "1")]
    pub metric_values: Vec<MetricValue>,
}

/// A number's value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MetricValue {
    /// Its name.
    #[prost(string, tag = "1")]
    pub metric_name: String,
    /// The value, as older versions read it.
    #[prost(int64, tag = "2")]
    pub metric_value: i64,
    /// The value.
    #[prost(double, tag = "3")]
    pub metric_value_float: f64,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;

    use super::*;

    /// `message.field number type` of the interface in `proto/`, read line by line.
    fn interface() -> BTreeSet<(String, u32, String)> {
        let mut message = String::new();
        let mut fields = BTreeSet::new();
        for line in include_str!("../../proto/externalscaler.proto").lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("message ") {
                message = name.trim_end_matches(" {").to_owned();
            }
            let Some((left, number)) = line.strip_suffix(';').and_then(|line| line.rsplit_once(" = ")) else {
                continue;
            };
            let Ok(number) = number.parse() else { continue };
            let (kind, field) = left.rsplit_once(' ').expect("a type and a name");
            fields.insert((format!("{message}.{field}"), number, kind.to_owned()));
        }
        fields
    }

    /// Tags and wire types that an encoding has: 0 varint, 1 eight bytes, 2 bytes behind their length.
    fn tags(mut bytes: &[u8]) -> Vec<(u32, u8)> {
        let mut tags = Vec::new();
        while let Some((&key, rest)) = bytes.split_first() {
            let length = match key & 7 {
                0 => 1,
                1 => 8,
                _ => 1 + usize::from(rest[0]),
            };
            tags.push((u32::from(key >> 3), key & 7));
            bytes = &rest[length..];
        }
        tags
    }

    #[test]
    fn messages_are_those_of_the_interface() {
        let asked = ScaledObjectRef {
            name: "a".into(),
            namespace: "b".into(),
            scaler_metadata: BTreeMap::from([("c".into(), "d".into())]),
        };
        let spec = MetricSpec { metric_name: "a".into(), target_size: 1, target_size_float: 1.0 };
        let value = MetricValue { metric_name: "a".into(), metric_value: 1, metric_value_float: 1.0 };
        let question = GetMetricsRequest { scaled_object_ref: Some(asked.clone()), metric_name: "a".into() };
        let have = [
            ("ScaledObjectRef", tags(&asked.encode_to_vec())),
            ("IsActiveResponse", tags(&IsActiveResponse { result: true }.encode_to_vec())),
            (
                "GetMetricSpecResponse",
                tags(&GetMetricSpecResponse { metric_specs: vec![spec.clone()] }.encode_to_vec()),
            ),
            ("MetricSpec", tags(&spec.encode_to_vec())),
            ("GetMetricsRequest", tags(&question.encode_to_vec())),
            ("GetMetricsResponse", tags(&GetMetricsResponse { metric_values: vec![value.clone()] }.encode_to_vec())),
            ("MetricValue", tags(&value.encode_to_vec())),
        ];
        let interface = interface();
        assert_eq!(interface.len(), 14);
        let wanted: BTreeSet<(&str, u32, u8)> = interface
            .iter()
            .map(|(field, number, kind)| {
                let wire = match kind.as_str() {
                    "bool" | "int64" => 0,
                    "double" => 1,
                    _ => 2,
                };
                (field.split('.').next().expect("a message"), *number, wire)
            })
            .collect();
        let have: BTreeSet<(&str, u32, u8)> = have
            .iter()
            .flat_map(|(message, tags)| tags.iter().map(|(number, wire)| (*message, *number, *wire)))
            .collect();
        assert_eq!(have, wanted);
    }

    /// As KEDA's own encoder writes it.
    #[test]
    fn a_question_is_pinned() {
        let bytes = b"\x0a\x04jobs\x12\x05joule\x1a\x13\x0a\x08taskKind\x12\x07segment";
        let asked = ScaledObjectRef::decode(&bytes[..]).unwrap();
        assert_eq!((asked.name.as_str(), asked.namespace.as_str()), ("jobs", "joule"));
        assert_eq!(asked.scaler_metadata["taskKind"], "segment");
        assert_eq!(asked.encode_to_vec(), bytes);
    }
}
