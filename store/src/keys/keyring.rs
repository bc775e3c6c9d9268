//! The data keys of an instance, unwrapped.

use super::{KeyError, Master, MasterKey};
use crate::seal::{self, Key, Place, Unsealable};
use crate::statements::{self, NewKey, SEALED, WrappedKey};
use crate::{Store, StoreError, new_uuid};
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};
use uuid::Uuid;
use zeroize::Zeroizing;

/// How many rows are sealed anew in one transaction: few enough that nobody waits for it.
const RESEAL_ROWS: usize = 200;

/// Opens and seals what is secret in the database.
#[derive(Debug)]
pub struct Keyring {
    master: RwLock<MasterKey>,
    place: Option<MasterPlace>,
    keys: RwLock<Keys>,
}

/// Reads the master key where it is kept, once more.
pub struct MasterPlace(Box<dyn Fn() -> BoxFuture<'static, Result<Master, KeyError>> + Send + Sync>);

impl MasterPlace {
    /// Makes it of what reads.
    pub fn new(
        read: impl Fn() -> BoxFuture<'static, Result<Master, KeyError>> + Send + Sync + 'static,
    ) -> Self {
        MasterPlace(Box::new(read))
    }
}

impl fmt::Debug for MasterPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterPlace")
    }
}

#[derive(Debug)]
struct Keys {
    active: (Uuid, Key),
    all: HashMap<Uuid, Key>,
}

/// What a rotation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// How many values were sealed anew.
    pub sealed: u64,
    /// How many could not be opened and were left as they are.
    pub left: u64,
}

/// A sealed value that does not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unopened {
    /// Its table.
    pub table: &'static str,
    /// Its column.
    pub field: &'static str,
    /// What people call the row.
    pub name: String,
    /// Why it does not open.
    pub why: String,
}

impl Keyring {
    /// Unwraps the data keys of a database; the first is made where there is none, and a master key
    /// too where there is neither.
    ///
    /// # Errors
    /// [`KeyError::Lost`] and [`KeyError::Wrong`] when the database was sealed under another master
    /// key; nothing is written then. Else what the disk or the database answers.
    pub async fn open(store: &Store, master: &Master) -> Result<Self, KeyError> {
        let mut wrapped = statements::data_keys(&store.readers).await?;
        if wrapped.is_empty() {
            let master = master.get_or_make()?;
            add_first(store, &master).await?;
            wrapped = statements::data_keys(&store.readers).await?;
        }
        Keyring::unwrap(master, &wrapped)
    }

    /// As [`Keyring::open`], and makes nothing; `None` where there are no data keys yet.
    ///
    /// # Errors
    /// As [`Keyring::open`].
    pub async fn look(store: &Store, master: &Master) -> Result<Option<Self>, KeyError> {
        let wrapped = statements::data_keys(&store.readers).await?;
        let any = !wrapped.is_empty();
        any.then(|| Keyring::unwrap(master, &wrapped)).transpose()
    }

    fn unwrap(master: &Master, wrapped: &[WrappedKey]) -> Result<Self, KeyError> {
        let master = match master {
            Master::Ready(key) => key.clone(),
            Master::Absent(path) => {
                let found = MasterKey::from_file(path)?;
                found.ok_or_else(|| KeyError::Lost {
                    path: path.clone(),
                    wanted: wrapped[0].master_version.clone(),
                })?
            }
        };
        let keys = unwrap_all(&master, wrapped)?;
        Ok(Keyring { master: RwLock::new(master), place: None, keys: RwLock::new(keys) })
    }

    /// Has the master key read again when it is not the right one any more: somebody may have put
    /// another in its place while this process runs.
    pub fn reading_again(mut self, place: MasterPlace) -> Self {
        self.place = Some(place);
        self
    }

    /// Reads the data keys again: another process may have added one, or wrapped them with another
    /// master key.
    ///
    /// # Errors
    /// As [`Keyring::open`]; the keys that are known stay.
    pub async fn reload(&self, store: &Store) -> Result<(), KeyError> {
        let wrapped = statements::data_keys(&store.readers).await?;
        let same = {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            let known = |key: &WrappedKey| {
                keys.all.contains_key(&key.id) && key.active == (key.id == keys.active.0)
            };
            !wrapped.is_empty() && wrapped.iter().all(known)
        };
        if !same {
            let keys = match unwrap_all(&self.master(), &wrapped) {
                Err(wrong @ KeyError::Wrong { .. }) => self.unwrap_anew(&wrapped, wrong).await?,
                unwrapped => unwrapped?,
            };
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        }
        Ok(())
    }

    /// Unwraps data keys with the master key that is in its place now.
    async fn unwrap_anew(&self, wrapped: &[WrappedKey], wrong: KeyError) -> Result<Keys, KeyError> {
        let Some(MasterPlace(read)) = &self.place else { return Err(wrong) };
        let Master::Ready(master) = read().await? else { return Err(wrong) };
        let keys = unwrap_all(&master, wrapped)?;
        tracing::info!(master = master.version(), "another master key is used from now on");
        *self.master.write().unwrap_or_else(PoisonError::into_inner) = master;
        Ok(keys)
    }

    fn master(&self) -> MasterKey {
        self.master.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Seals a value for its place.
    pub(crate) fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let (id, key) = &keys.active;
        seal::seal(key, *id, place, plain)
    }

    /// Tells values of a row apart, and nothing of them: without the keys nobody can try which
    /// value has this fingerprint. It stays the same when keys are rotated.
    pub(crate) fn fingerprint(&self, row: &str, plain: &[u8]) -> String {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let first = keys.all.iter().min_by_key(|(id, _)| **id).map(|(_, key)| key.bytes());
        let first = first.expect("there is an active key");
        let key = blake3::derive_key("azud 2026 fingerprints of credentials", first);
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(row.as_bytes()).update(&[0]).update(plain);
        hasher.finalize().to_hex()[..12].to_owned()
    }

    /// Opens a value of a place.
    pub(crate) fn open_sealed(
        &self,
        place: Place<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
        let id = seal::key_of(sealed)?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        seal::open(keys.all.get(&id).ok_or(Unsealable::Key)?, place, sealed)
    }

    /// Opens a value, reading the keys again when it was sealed with one that is not known.
    pub(crate) async fn open_fresh(
        &self,
        store: &Store,
        place: Place<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
        match self.open_sealed(place, sealed) {
            Err(Unsealable::Key) => match self.reload(store).await {
                Ok(()) => self.open_sealed(place, sealed),
                Err(error) => {
                    tracing::warn!(%error, "the data keys cannot be read again");
                    Err(Unsealable::Key)
                }
            },
            opened => opened,
        }
    }

    /// Makes another data key and seals every row with it, while others work on. What does not open
    /// is left as it is.
    ///
    /// # Errors
    /// [`KeyError::Wrong`] when the data keys are wrapped by another master key by now; nothing is
    /// changed then. Else what the database answers: what was sealed anew until then is, and the
    /// rest may be tried again.
    pub async fn rotate(&self, store: &Store) -> Result<Rotated, KeyError> {
        let (id, key) = (new_uuid(store.clock.now())?, Key::random()?);
        let master = self.master();
        let wrapped = wrap(&master, id, &key)?;
        let new = new_key(&master, id, &wrapped);
        match statements::add_key(store.writer()?, &new, store.clock.now()).await {
            Err(StoreError::Changed) => {
                let known = statements::data_keys(&store.readers).await?;
                let wanted = known.into_iter().find(|key| key.active);
                let wanted = wanted.ok_or(StoreError::Changed)?.master_version;
                return Err(KeyError::Wrong { found: master.version, wanted });
            }
            added => added?,
        }
        self.reload(store).await?;
        self.reseal(store).await
    }

    /// Seals what was sealed with another key than the active one.
    async fn reseal(&self, store: &Store) -> Result<Rotated, KeyError> {
        let active = self.keys.read().unwrap_or_else(PoisonError::into_inner).active.0;
        let mut done = Rotated::default();
        for column in SEALED {
            let mut anew = Vec::new();
            for value in statements::sealed_values(&store.readers, column).await? {
                if seal::key_of(&value.sealed) == Ok(active) {
                    continue;
                }
                let row = value.row();
                let place = Place { table: column.table, row: &row, field: column.field };
                match self.open_sealed(place, &value.sealed) {
                    Ok(plain) => anew.push((value, self.seal(place, &plain)?)),
                    Err(_) => done.left += 1,
                }
            }
            for some in anew.chunks(RESEAL_ROWS) {
                done.sealed += statements::reseal(store.writer()?, column, some).await?;
            }
        }
        Ok(done)
    }

    /// Wraps the data keys with another master key, all or none. Rows stay as they are.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when somebody else has changed the keys meanwhile; else what the
    /// database answers. The old master key is good then.
    pub async fn change_master(&self, store: &Store, to: &MasterKey) -> Result<(), KeyError> {
        let all: Vec<(Uuid, Key)> = {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            keys.all.iter().map(|(id, key)| (*id, key.clone())).collect()
        };
        let mut wrapped = Vec::new();
        for (id, key) in &all {
            wrapped.push((*id, wrap(to, *id, key)?));
        }
        let keys: Vec<_> = wrapped.iter().map(|(id, wrapped)| new_key(to, *id, wrapped)).collect();
        statements::wrap_keys(store.writer()?, &keys, &self.master().version).await?;
        *self.master.write().unwrap_or_else(PoisonError::into_inner) = to.clone();
        Ok(())
    }

    /// Opens every sealed value, and names those that do not open.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn verify(&self, store: &Store) -> Result<(u64, Vec<Unopened>), KeyError> {
        self.reload(store).await?;
        let (mut opened, mut unopened) = (0, Vec::new());
        for column in SEALED {
            for value in statements::sealed_values(&store.readers, column).await? {
                let row = value.row();
                let place = Place { table: column.table, row: &row, field: column.field };
                match self.open_sealed(place, &value.sealed) {
                    Ok(_) => opened += 1,
                    Err(why) => unopened.push(Unopened {
                        table: column.table,
                        field: column.field,
                        name: value.label,
                        why: why.to_string(),
                    }),
                }
            }
        }
        Ok((opened, unopened))
    }
}

async fn add_first(store: &Store, master: &MasterKey) -> Result<(), KeyError> {
    let (id, key) = (new_uuid(store.clock.now())?, Key::random()?);
    let wrapped = wrap(master, id, &key)?;
    let new = new_key(master, id, &wrapped);
    // Where another process was faster, its key is the key.
    statements::add_first_key(store.writer()?, &new, store.clock.now()).await?;
    Ok(())
}

fn new_key<'a>(master: &'a MasterKey, id: Uuid, wrapped: &'a [u8]) -> NewKey<'a> {
    NewKey { id, wrapped, master: master.kind, master_version: &master.version }
}

/// Seals a data key for its row, with the master key.
fn wrap(master: &MasterKey, id: Uuid, key: &Key) -> Result<Vec<u8>, StoreError> {
    seal::seal(&master.key, Uuid::nil(), place_of(&id.to_string()), key.bytes())
}

fn place_of(row: &str) -> Place<'_> {
    Place { table: "encryption_keys", row, field: "wrapped_key" }
}

fn unwrap_all(master: &MasterKey, wrapped: &[WrappedKey]) -> Result<Keys, KeyError> {
    let (mut all, mut active) = (HashMap::new(), None);
    for WrappedKey { id, wrapped, master_version, active: is_active } in wrapped {
        let opened = seal::open(&master.key, place_of(&id.to_string()), wrapped).ok();
        let bytes = opened.and_then(|opened| <[u8; 32]>::try_from(opened.as_slice()).ok());
        let key = Key::new(bytes.ok_or_else(|| KeyError::Wrong {
            found: master.version.clone(),
            wanted: master_version.clone(),
        })?);
        if *is_active {
            active = Some((*id, key.clone()));
        }
        all.insert(*id, key);
    }
    // Rotating retires the one and adds the other in one transaction.
    Ok(Keys { active: active.ok_or(KeyError::Store(StoreError::Changed))?, all })
}
