//! Signatures that anybody can check (Ed25519, RFC 8032).
//!
//! Owns the form of keys and signatures. Knows nothing of what is signed.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

/// A secret key that signs; its [`public`](SigningKey::public) half checks.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey([secret])")
    }
}

impl SigningKey {
    /// Takes 32 bytes of the operating system's randomness. `None` where the library refuses them,
    /// which it does for none.
    pub fn from_bytes(seed: &[u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let public = pair.public_key().as_ref().try_into().ok()?;
        Some(SigningKey { pair, public })
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// Signs: 64 bytes.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

/// Whether `signature` was made over `message` with the secret half of `public`. What is of
/// another length was not.
pub fn signed_by(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public)
        .verify(message, signature)
        .is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use data_encoding::HEXLOWER;

    use super::*;

    /// RFC 8032 7.1, test 2.
    #[test]
    fn a_signature_is_that_of_the_standard() {
        let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        let expected = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                        085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        let seed: [u8; 32] = HEXLOWER
            .decode(seed.as_bytes())
            .unwrap()
            .try_into()
            .unwrap();
        let key = SigningKey::from_bytes(&seed).unwrap();
        let mut signature = key.sign(&[0x72]);
        assert_eq!(HEXLOWER.encode(&key.public()), public);
        assert_eq!(HEXLOWER.encode(&signature), expected);
        assert!(signed_by(&key.public(), &[0x72], &signature));
        assert!(!signed_by(&key.public(), &[0x73], &signature));
        assert!(!signed_by(&key.public()[1..], &[0x72], &signature));
        signature[5] ^= 1;
        assert!(!signed_by(&key.public(), &[0x72], &signature));
    }
}
