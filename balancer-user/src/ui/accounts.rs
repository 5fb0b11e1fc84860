//! Who may sign in: names, roles, and what their passwords hash to.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, bail};
use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::data::Data;

/// The file.
const FILE: &str = "accounts.json";
/// The longest name, in characters.
const MAX_NAME: usize = 64;
/// The shortest password, in characters.
pub const MIN_PASSWORD: usize = 10;
/// The longest password, in bytes: hashing takes time by its length.
pub const MAX_PASSWORD: usize = 1024;

/// What an account may do.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Everything.
    Admin,
    /// See everything, change nothing.
    #[default]
    ReadOnly,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Admin => "admin",
            Role::ReadOnly => "read-only",
        })
    }
}

/// One account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What it may do.
    pub role: Role,
    /// Its password by argon2id, with salt and parameters.
    pub hash: String,
}

/// All accounts. They are read anew each time: who has been removed is out at once.
#[derive(Clone, Debug)]
pub struct Accounts(Data);

type Table = BTreeMap<String, Account>;

impl Accounts {
    /// Those of a directory.
    pub fn new(data: Data) -> Accounts {
        Accounts(data)
    }

    /// All of them, by name.
    pub fn all(&self) -> anyhow::Result<BTreeMap<String, Account>> {
        self.0.read(FILE)
    }

    /// One, if it is there.
    pub fn find(&self, name: &str) -> anyhow::Result<Option<Account>> {
        Ok(self.all()?.remove(name))
    }

    /// Adds an account, or gives one that is there another password and role.
    ///
    /// # Errors
    ///
    /// Name or password can't be taken, or the file can't be written.
    pub fn put(&self, name: &str, password: &str, role: Role) -> anyhow::Result<()> {
        let blank = |c: char| c.is_control() || c.is_whitespace();
        if name.is_empty() || name.chars().count() > MAX_NAME || name.contains(blank) {
            bail!("a name has 1 to {MAX_NAME} characters, without blanks");
        }
        if password.chars().count() < MIN_PASSWORD || password.len() > MAX_PASSWORD {
            bail!(
                "a password has {MIN_PASSWORD} characters or more, and {MAX_PASSWORD} bytes at most"
            );
        }
        let account = Account { role, hash: hash(password)? };
        self.0.update(FILE, |table: &mut Table| {
            table.insert(name.to_owned(), account);
            Ok(())
        })
    }

    /// Removes an account.
    ///
    /// # Errors
    ///
    /// There is none, or the file can't be written.
    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        self.0.update(FILE, |table: &mut Table| {
            table.remove(name).map(drop).with_context(|| format!("there is no account {name}"))
        })
    }

    /// The account whose password this is. It takes the same time whether there is one of this name
    /// or not.
    pub fn check(&self, name: &str, password: &str) -> anyhow::Result<Option<Account>> {
        let account = self.find(name)?;
        let hash = account.as_ref().map_or(NOBODY, |account| account.hash.as_str());
        let right = PasswordHash::new(hash).is_ok_and(|hash| {
            Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
        });
        Ok(account.filter(|_| right))
    }
}

/// What is verified for a name without an account; no password hashes to it.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn hash(password: &str) -> anyhow::Result<String> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    Ok(hash.context("the password can't be hashed")?.to_string())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_password_is_known_again_and_never_stored() {
        let dir = tempfile::tempdir().unwrap();
        let accounts = Accounts::new(Data::open(dir.path()).unwrap());
        accounts.put("ann", "correct horse", Role::Admin).unwrap();
        assert_eq!(accounts.check("ann", "correct horse").unwrap().unwrap().role, Role::Admin);
        assert_eq!(accounts.check("ann", "correct hors").unwrap(), None);
        assert_eq!(accounts.check("bob", "correct horse").unwrap(), None);
        let path = dir.path().join(FILE);
        assert!(!fs::read_to_string(&path).unwrap().contains("horse"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        accounts.remove("ann").unwrap();
        assert_eq!(accounts.check("ann", "correct horse").unwrap(), None);
        assert!(accounts.remove("ann").unwrap_err().to_string().contains("no account ann"));
    }

    #[test]
    fn bad_names_and_short_passwords_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let accounts = Accounts::new(Data::open(dir.path()).unwrap());
        for (name, password) in [("", "correct horse"), ("a b", "correct horse"), ("ann", "short")]
        {
            assert!(accounts.put(name, password, Role::Admin).is_err(), "{name:?}");
        }
        assert!(accounts.all().unwrap().is_empty());
    }

    /// A name that is not there must take as long as one that is: the stand-in asks for the same work.
    #[test]
    fn nobody_s_hash_takes_the_same_work() {
        let parameters = |hash: &str| hash.split('$').nth(3).map(str::to_owned);
        assert!(PasswordHash::new(NOBODY).is_ok());
        assert_eq!(parameters(NOBODY), parameters(&hash("correct horse").unwrap()));
    }
}
