//! A record as the target of VRL programs.

use super::Record;
use std::cell::Cell;
use std::collections::BTreeMap;
use vrl::compiler::{SecretTarget, Target};
use vrl::path::{OwnedTargetPath, PathPrefix};
use vrl::value::Value;

impl Target for Record {
    fn target_insert(&mut self, path: &OwnedTargetPath, value: Value) -> Result<(), String> {
        self.insert_target(path, value);
        Ok(())
    }

    fn target_get(&self, path: &OwnedTargetPath) -> Result<Option<&Value>, String> {
        Ok(self.get_target(path))
    }

    fn target_get_mut(&mut self, path: &OwnedTargetPath) -> Result<Option<&mut Value>, String> {
        Ok(self.value_mut(path.into()))
    }

    fn target_remove(
        &mut self,
        path: &OwnedTargetPath,
        compact: bool,
    ) -> Result<Option<Value>, String> {
        Ok(self.remove_target(path, compact))
    }
}

/// Records carry no secrets: programs find none, and what they set is not kept.
impl SecretTarget for Record {
    fn get_secret(&self, _key: &str) -> Option<&str> {
        None
    }

    fn insert_secret(&mut self, _key: &str, _value: &str) {}

    fn remove_secret(&mut self, _key: &str) {}
}

/// A record for one run of a program, by [`Record::as_program_target`].
#[derive(Debug)]
pub struct ProgramTarget<'a> {
    record: &'a mut Record,
    begun: Cell<bool>,
}

impl Record {
    /// Gives the target to hand to `Runtime::resolve`, anew for each run.
    ///
    /// The runtime begins every run by asking for the root of the event, only to see that there is
    /// one. To answer truly would make a value of every field. So the very first question, if it is
    /// for the root, is answered with an empty object that nobody looks into; every later one is
    /// answered truly.
    pub fn as_program_target(&mut self) -> ProgramTarget<'_> {
        ProgramTarget { record: self, begun: Cell::new(false) }
    }
}

static EMPTY: Value = Value::Object(BTreeMap::new());

impl Target for ProgramTarget<'_> {
    fn target_insert(&mut self, path: &OwnedTargetPath, value: Value) -> Result<(), String> {
        self.record.target_insert(path, value)
    }

    #[inline]
    fn target_get(&self, path: &OwnedTargetPath) -> Result<Option<&Value>, String> {
        if !self.begun.replace(true) && path.path.is_root() && path.prefix == PathPrefix::Event {
            return Ok(Some(&EMPTY));
        }
        self.record.target_get(path)
    }

    fn target_get_mut(&mut self, path: &OwnedTargetPath) -> Result<Option<&mut Value>, String> {
        self.record.target_get_mut(path)
    }

    fn target_remove(
        &mut self,
        path: &OwnedTargetPath,
        compact: bool,
    ) -> Result<Option<Value>, String> {
        self.record.target_remove(path, compact)
    }
}

impl SecretTarget for ProgramTarget<'_> {
    fn get_secret(&self, key: &str) -> Option<&str> {
        self.record.get_secret(key)
    }

    fn insert_secret(&mut self, key: &str, value: &str) {
        self.record.insert_secret(key, value);
    }

    fn remove_secret(&mut self, key: &str) {
        self.record.remove_secret(key);
    }
}
