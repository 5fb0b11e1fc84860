//! The balancers that the interface manages.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::data::Data;

/// The file.
const FILE: &str = "equipment.json";
/// The name of the balancer of this host. It is always there.
pub const LOCAL: &str = "local";
/// Most balancers.
const MAX_SERVERS: usize = 64;
/// The longest name, host or login, in characters.
const MAX_TEXT: usize = 253;

/// A balancer on another host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// What it is called here.
    pub name: String,
    /// Its host: a name, an address, or a `Host` of `ssh_config`.
    pub host: String,
    /// The user to sign in as there; empty = what OpenSSH chooses.
    pub login: String,
    /// Whether commands are run by `sudo` there.
    pub sudo: bool,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: Kind,
}

/// What a server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum Kind {
    /// A host with `ipfix-balancer`.
    #[default]
    #[serde(rename = "IPFIX-balancer server")]
    Balancer,
}

/// The list.
#[derive(Clone, Debug)]
pub struct Equipment(Data);

impl Equipment {
    /// That of a directory.
    pub fn new(data: Data) -> Equipment {
        Equipment(data)
    }

    /// All remote ones, in the order in which they were added.
    pub fn all(&self) -> anyhow::Result<Vec<Server>> {
        self.0.read(FILE)
    }

    /// Adds one.
    ///
    /// # Errors
    ///
    /// Something about it is not allowed, or the file can't be written.
    pub fn add(&self, server: Server) -> anyhow::Result<()> {
        server.check()?;
        self.0.update(FILE, |servers: &mut Vec<Server>| {
            free(servers, &server.name)?;
            if servers.len() >= MAX_SERVERS {
                bail!("there are {MAX_SERVERS} servers already");
            }
            servers.push(server);
            Ok(())
        })
    }

    /// Puts another one in the place of one.
    ///
    /// # Errors
    ///
    /// As [`Equipment::add`]; or there is none of this name.
    pub fn edit(&self, name: &str, server: Server) -> anyhow::Result<()> {
        server.check()?;
        self.0.update(FILE, |servers: &mut Vec<Server>| {
            if server.name != name {
                free(servers, &server.name)?;
            }
            let place = servers.iter_mut().find(|one| one.name == name);
            *place.with_context(|| format!("there is no server {name}"))? = server;
            Ok(())
        })
    }

    /// Removes one.
    ///
    /// # Errors
    ///
    /// There is none of this name, or the file can't be written.
    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        self.0.update(FILE, |servers: &mut Vec<Server>| {
            let place = servers.iter().position(|one| one.name == name);
            servers.remove(place.with_context(|| format!("there is no server {name}"))?);
            Ok(())
        })
    }
}

fn free(servers: &[Server], name: &str) -> anyhow::Result<()> {
    if name == LOCAL || servers.iter().any(|one| one.name == name) {
        bail!("name: there is a server {name} already");
    }
    Ok(())
}

impl Server {
    /// Nothing in it may be taken for an option of `ssh`, or be more than one word of it.
    fn check(&self) -> anyhow::Result<()> {
        let Server { name, host, login, .. } = self;
        let name_like = |c: char| !c.is_control() && c != '/';
        word("name", name, name_like)?;
        word("host", host, |c| c.is_ascii_alphanumeric() || "._-:%".contains(c))?;
        if !login.is_empty() {
            word("login", login, |c| c.is_ascii_alphanumeric() || "._-".contains(c))?;
        }
        Ok(())
    }
}

fn word(what: &str, text: &str, allowed: impl Fn(char) -> bool) -> anyhow::Result<()> {
    match text {
        "" => bail!("{what}: it must be given"),
        text if text.trim() != text => bail!("{what}: no blanks at its ends"),
        text if text.starts_with('-') => bail!("{what}: it must not begin with -"),
        text if text.chars().count() > MAX_TEXT => bail!("{what}: at most {MAX_TEXT} characters"),
        text => match text.chars().find(|c| !allowed(*c)) {
            Some(c) => bail!("{what}: {c:?} is not allowed in it"),
            None => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, host: &str, login: &str) -> Server {
        let (name, host, login) = (name.to_owned(), host.to_owned(), login.to_owned());
        Server { name, host, login, sudo: false, kind: Kind::Balancer }
    }

    #[test]
    fn servers_are_added_edited_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let equipment = Equipment::new(Data::open(dir.path()).unwrap());
        equipment.add(server("one", "2001:db8::1", "root")).unwrap();
        equipment.add(server("two", "b.example", "")).unwrap();
        assert!(equipment.add(server("one", "b", "")).is_err());
        assert!(equipment.add(server(LOCAL, "b", "")).is_err());
        assert!(equipment.edit("two", server("one", "b", "")).is_err());
        equipment.edit("one", server("uno", "c", "")).unwrap();
        equipment.remove("two").unwrap();
        assert!(equipment.remove("two").is_err());
        assert_eq!(equipment.all().unwrap(), [server("uno", "c", "")]);
    }

    #[test]
    fn nothing_becomes_an_option_or_a_command() {
        let bad = [
            ("", "h", ""),
            ("n", "-oProxyCommand=x", ""),
            ("n", "h", "-l"),
            ("n", "h x", ""),
            ("n", "h;x", ""),
            ("n", "ssh://h", ""),
            ("n", "h", "a@b"),
            ("a/b", "h", ""),
            ("n", "", ""),
            (" n", "h", ""),
        ];
        for (name, host, login) in bad {
            assert!(server(name, host, login).check().is_err(), "{name:?} {host:?} {login:?}");
        }
    }
}
