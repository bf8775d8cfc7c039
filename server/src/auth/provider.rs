//! Ed25519 for `jsonwebtoken`, and nothing else.

use jsonwebtoken::{
    Algorithm,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error as JwtError, ErrorKind},
    signature,
};

/// Gives `jsonwebtoken` our Ed25519: its own back ends bring RSA and curves that nothing here may accept.
pub fn install() {
    // Err: an earlier App of this process installed it already.
    let _ = PROVIDER.install_default();
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match (algorithm, <&[u8; 32]>::try_from(key.as_bytes())) {
        (Algorithm::EdDSA, Ok(seed)) => Ok(Box::new(Signer(
            ed25519_dalek::SigningKey::from_bytes(seed),
        ))),
        _ => unsupported(),
    },
    verifier_factory: |algorithm, key| match (
        algorithm,
        <&[u8; 32]>::try_from(key.try_get_as_bytes()?),
    ) {
        (Algorithm::EdDSA, Ok(public)) => {
            let key = ed25519_dalek::VerifyingKey::from_bytes(public)
                .map_err(|_| JwtError::from(ErrorKind::InvalidEddsaKey))?;
            Ok(Box::new(Verifier(key)))
        }
        _ => unsupported(),
    },
    // Asked for only when the library itself makes JWKs; ours are made in signing_keys.
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| unsupported(),
        rsa_pub_components_from_public_key: |_| unsupported(),
        ec_pub_components_from_private_key: |_, _| unsupported(),
        ed_pub_components_from_private_key: |_, _| unsupported(),
        compute_digest: |_, _| unsupported(),
    },
};

fn unsupported<T>() -> Result<T, JwtError> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

struct Signer(ed25519_dalek::SigningKey);

impl signature::Signer<Vec<u8>> for Signer {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(ed25519_dalek::Signer::sign(&self.0, message)
            .to_bytes()
            .to_vec())
    }
}

impl JwtSigner for Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Verifier(ed25519_dalek::VerifyingKey);

impl signature::Verifier<Vec<u8>> for Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let signature =
            ed25519_dalek::Signature::from_slice(signature).map_err(|_| signature::Error::new())?;
        // Strict: no weak keys, one encoding per signature.
        self.0
            .verify_strict(message, &signature)
            .map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Verifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}
