//! Further certificates that are trusted, from a file.

use std::error::Error;

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::client::network::CaBundle;

/// Adds the certificates of the file. The error names the variable.
///
/// A file without a usable certificate, or with damaged PEM, is an error. Single certificates that TLS
/// cannot use are skipped, since bundles of systems contain such.
pub(super) fn add_certificates(roots: &mut RootCertStore, bundle: &CaBundle) -> Result<(), String> {
    let CaBundle { variable, path } = bundle;
    add(roots, bundle).map_err(|error| {
        format!(
            "{variable} names {}, which is not a file of PEM certificates: {error}",
            path.display()
        )
    })
}

fn add(roots: &mut RootCertStore, bundle: &CaBundle) -> Result<(), Box<dyn Error>> {
    let pem = std::fs::read(&bundle.path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>()?;
    match roots.add_parsable_certificates(certificates) {
        (0, unusable) => Err(format!("{unusable} certificates, none of which can be used").into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str = include_str!("trust/ca.pem");

    #[test]
    fn a_file_without_usable_certificates_is_an_error_that_names_the_variable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let bundle = CaBundle { variable: "AWS_CA_BUNDLE", path: path.clone() };
        let pem = |body: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
        };
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned();
        let cut = CA[..CA.len() / 2].to_owned();
        for text in [String::new(), "not PEM".to_owned(), pem("%%%"), pem("AAAA"), key, cut] {
            std::fs::write(&path, &text).unwrap();

            let error = add_certificates(&mut RootCertStore::empty(), &bundle).unwrap_err();

            assert!(error.starts_with("AWS_CA_BUNDLE names "), "{text:?}: {error}");
        }
        for text in [CA.to_owned(), format!("# a comment\n{}{CA}", pem("AAAA"))] {
            std::fs::write(&path, &text).unwrap();
            assert!(add_certificates(&mut RootCertStore::empty(), &bundle).is_ok(), "{text:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(
            add_certificates(&mut RootCertStore::empty(), &bundle)
                .unwrap_err()
                .contains("No such file")
        );
    }
}
