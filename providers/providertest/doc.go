// Package providertest has what the tests of providers are made of: an issuer
// of signed tokens that can be told to fail in every way that real ones do,
// and the suite that every type of provider must pass.
package providertest
