//! The values that an object has at the fields of a set.

use serde_json::{Map, Value};

use super::{FieldSet, Segment, items};
use crate::object::Object;

/// How lists with key fields are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As lists. A key field that is not in the set is a default, which the API server adds by itself.
    Wire,
    /// As maps, by the values of their key fields.
    Keyed,
}

impl FieldSet {
    /// Returns the values of an object at the fields of the set, as the API server takes them. What the object does
    /// not have is left out.
    pub fn take(&self, object: &Object) -> Value {
        self.of(object.value(), Form::Wire)
    }

    /// Returns the values of an object at the fields of the set, lists with key fields as maps: `ports: {"80/TCP": ..}`.
    pub fn keyed(&self, object: &Object) -> Value {
        self.of(object.value(), Form::Keyed)
    }

    fn of(&self, value: &Value, form: Form) -> Value {
        match value {
            _ if self.is_leaf() && !self.hollow => value.clone(),
            Value::Object(map) => Value::Object(self.fields(map, form)),
            Value::Array(list) if form == Form::Keyed && self.is_keyed() => Value::Object(self.named(list)),
            Value::Array(list) => Value::Array(self.items(list, form).map(|(_, item)| item).collect()),
            scalar => scalar.clone(),
        }
    }

    fn fields(&self, map: &Map<String, Value>, form: Form) -> Map<String, Value> {
        let fields = self.below.iter().filter_map(|(step, below)| {
            let Segment::Field(name) = step else { return None };
            Some((name.clone(), below.of(map.get(name)?, form)))
        });
        fields.collect()
    }

    fn is_keyed(&self) -> bool {
        self.below.keys().any(|step| matches!(step, Segment::Key(_)))
    }

    fn named(&self, list: &[Value]) -> Map<String, Value> {
        self.items(list, Form::Keyed).map(|(step, item)| (step.name(), item)).collect()
    }

    /// Returns the items that are in the set, in the object's order.
    fn items<'a>(&'a self, list: &'a [Value], form: Form) -> impl Iterator<Item = (&'a Segment, Value)> {
        let steps = items::pair(list, self.below.keys());
        steps.into_iter().zip(list).filter_map(move |(step, item)| {
            let step = step?;
            Some((step, self.below[step].of(item, form)))
        })
    }
}
