//! A certificate authority, and what it signed, as PEM files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use marabunta_server::clock;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::scratch::Scratch;

#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    files: Scratch,
}

/// Paths of a certificate and its key.
pub type Identity = (PathBuf, PathBuf);

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no name is wrong");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority can sign itself");
        let files = Scratch::new("authority");
        files.write("ca.pem", issuer.pem());
        Self { issuer, files }
    }

    /// The file that makes others trust it.
    pub fn ca(&self) -> PathBuf {
        self.files.join("ca.pem")
    }

    /// A certificate for this name, in the place of an earlier one.
    pub fn identity(&self, name: &str) -> Identity {
        self.sign(name, CertificateParams::new(vec![name.to_owned()]).expect("the name is one"))
    }

    /// One that expires after so long, in whole seconds.
    pub fn identity_for(&self, name: &str, life: Duration) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("the name is one");
        params.not_after = (SystemTime::from(clock::wall()) + life).into();
        self.sign(name, params)
    }

    fn sign(&self, name: &str, mut params: CertificateParams) -> Identity {
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority can sign");
        let key = secret(&self.files, &format!("{name}.key"), &key.serialize_pem());
        (self.files.write(&format!("{name}.pem"), certificate.pem()), key)
    }
}

/// A file that nobody else can read or write.
pub fn secret(directory: &Scratch, name: &str, text: &str) -> PathBuf {
    let path = directory.write(name, text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
        .expect("the file was just written");
    path
}
