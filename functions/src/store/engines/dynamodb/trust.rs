//! The certificates that the client accepts.

use std::{fs, path::Path};

use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tracing::warn;

/// The system's roots, and those of `bundle`, a file of PEM certificates.
///
/// A file that cannot be used is logged and left out, so that it cannot stop a function. The whole
/// file is left out for one bad certificate: the SDK panics on it.
pub(super) fn tls_context(bundle: Option<&Path>) -> TlsContext {
    let mut roots = TrustStore::default();
    if let Some(path) = bundle {
        match read(path) {
            Ok(pem) => {
                roots.add_pem_certificate(pem);
            }
            Err(problem) => warn!(
                "The certificates of {} are not used: {problem}; CRUDDUR_CA_BUNDLE must name a PEM file",
                path.display()
            ),
        }
    }
    TlsContext::builder().with_trust_store(roots).build().unwrap_or_default()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let pem = fs::read(path).map_err(|error| error.to_string())?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("the file has no certificate".to_owned());
    }
    for certificate in certificates {
        RootCertStore::empty().add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_usable_certificate_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle.pem");
        let pem = |body: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
        };
        for (text, reason) in [
            (String::new(), "the file has no certificate"),
            ("not PEM at all".to_owned(), "the file has no certificate"),
            (pem("%%%"), "base64"),
            (pem("AAAA"), "certificate"),
        ] {
            fs::write(&path, &text).unwrap();
            let refused = read(&path).unwrap_err();
            assert!(refused.to_lowercase().contains(reason), "{text:?}: {refused}");
        }
        fs::remove_file(&path).unwrap();
        assert!(read(&path).unwrap_err().contains("No such file"));
    }
}
