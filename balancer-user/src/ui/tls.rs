//! What the interface shows browsers of itself: a certificate that is given, or a self-made one.

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use nix::unistd::gethostname;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use sha2::{Digest, Sha256};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};
use tracing::info;

use super::data::Data;

/// The self-made certificate and its key.
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";

/// Speaks TLS with this certificate and key, or with self-made ones, which are kept.
pub fn acceptor(
    data: &Data,
    identity: Option<&(PathBuf, PathBuf)>,
    address: SocketAddr,
) -> anyhow::Result<TlsAcceptor> {
    let (certificate, key) = match identity {
        Some(given) => given.clone(),
        None => self_made(data, address)?,
    };
    let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(&certificate)?).collect();
    let chain =
        chain.with_context(|| format!("{}: no certificates as PEM", certificate.display()))?;
    if let (None, Some(own)) = (identity, chain.first()) {
        let print: Vec<_> = Sha256::digest(own).iter().map(|byte| format!("{byte:02X}")).collect();
        info!(
            "the web interface's certificate is self-made, SHA-256 fingerprint {}",
            print.join(":")
        );
    }
    let private = PrivateKeyDer::from_pem_slice(&read(&key)?)
        .with_context(|| format!("{}: no private key as PEM", key.display()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| format!("{} and {}", certificate.display(), key.display()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn self_made(data: &Data, address: SocketAddr) -> anyhow::Result<(PathBuf, PathBuf)> {
    let [certificate, key] = [CERTIFICATE, KEY].map(|name| data.dir().join(name));
    if !certificate.exists() {
        // A key without a certificate is left of one that was not made to the end.
        let _ = fs::remove_file(&key);
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names(address))?;
        data.create(KEY)?.write_all(signing_key.serialize_pem().as_bytes())?;
        data.create(CERTIFICATE)?.write_all(cert.pem().as_bytes())?;
    }
    Ok((certificate, key))
}

/// By what browsers may know this host.
fn names(address: SocketAddr) -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    names.extend(gethostname().ok().and_then(|name| name.into_string().ok()));
    if !address.ip().is_unspecified() {
        names.push(address.ip().to_string());
    }
    names
}
