package authz

// Reason says why, in one word, for logs and metrics. The caller is never
// told more than its class.
type Reason uint8

// The reasons.
const (
	NoReason Reason = iota
	// allowed
	ReasonVerified // a credential was proven
	ReasonPublic   // the rule wants none
	ReasonOptional // the rule can do without, and there was none
	ReasonDisabled // the global switch is off
	ReasonPreflight
	// answered by the gate itself
	ReasonDocument
	// no or unusable credential
	ReasonNoCredential
	ReasonUnsupportedScheme
	ReasonNoOwner // no provider of the rule issues such credentials
	// malformed
	ReasonAmbiguousCredential
	ReasonMalformedCredential
	ReasonAmbiguousPath
	ReasonUnreadable
	// refused by the provider
	ReasonMalformedToken
	ReasonAlgorithm
	ReasonUnknownKey
	ReasonSignature
	ReasonTokenType
	ReasonIssuer
	ReasonAudience
	ReasonClient // issued to an app that is not ours
	ReasonTenant
	ReasonExpired // and its signature is good: the caller may be told
	ReasonNotYetValid
	ReasonClaims // a required claim is missing or malformed
	ReasonUsername
	ReasonAppOnly // no user in it, and no service account mapped
	ReasonUnbound // bound to a key that was not proven
	ReasonProof   // the proof of the key is bad
	ReasonProofNonce
	ReasonInactive
	ReasonRevoked
	ReasonLoggedOut    // its provider told us that the session ended
	ReasonTokenExpired // of an API token: the caller is told no more than of a revoked one
	ReasonChecksum
	ReasonUnknownToken
	ReasonWrongUser
	ReasonPassword // there is no such static user, or the password is wrong
	// known caller, not allowed
	ReasonDeniedByRule
	ReasonUserNotAllowed
	ReasonGroupNotAllowed
	ReasonClientNotAllowed
	ReasonSourceNotAllowed
	ReasonScope
	ReasonReadOnly
	ReasonExpression
	ReasonStepUp
	// cannot tell
	ReasonProviderDown
	ReasonThrottled
	ReasonMisconfigured
	ReasonGroupsUnknown
	ReasonOverload
	ReasonPanic
	ReasonInternal

	reasonCount // one past the last
)

// Reasons is how many there are: the size of a table indexed by Reason.
const Reasons = int(reasonCount)

var reasonWords = [reasonCount]string{
	NoReason:                  "none",
	ReasonVerified:            "verified",
	ReasonPublic:              "public",
	ReasonOptional:            "optional",
	ReasonDisabled:            "disabled",
	ReasonPreflight:           "preflight",
	ReasonDocument:            "document",
	ReasonNoCredential:        "no_credential",
	ReasonUnsupportedScheme:   "unsupported_scheme",
	ReasonNoOwner:             "no_owner",
	ReasonAmbiguousCredential: "ambiguous_credential",
	ReasonMalformedCredential: "malformed_credential",
	ReasonAmbiguousPath:       "ambiguous_path",
	ReasonUnreadable:          "unreadable",
	ReasonMalformedToken:      "malformed_token",
	ReasonAlgorithm:           "algorithm",
	ReasonUnknownKey:          "unknown_key",
	ReasonSignature:           "signature",
	ReasonTokenType:           "token_type",
	ReasonIssuer:              "issuer",
	ReasonAudience:            "audience",
	ReasonClient:              "client",
	ReasonTenant:              "tenant",
	ReasonExpired:             "expired",
	ReasonNotYetValid:         "not_yet_valid",
	ReasonClaims:              "claims",
	ReasonUsername:            "username",
	ReasonAppOnly:             "app_only",
	ReasonUnbound:             "unbound",
	ReasonProof:               "proof",
	ReasonProofNonce:          "proof_nonce",
	ReasonInactive:            "inactive",
	ReasonRevoked:             "revoked",
	ReasonLoggedOut:           "logged_out",
	ReasonTokenExpired:        "token_expired",
	ReasonChecksum:            "checksum",
	ReasonUnknownToken:        "unknown_token",
	ReasonWrongUser:           "wrong_user",
	ReasonPassword:            "password",
	ReasonDeniedByRule:        "denied_by_rule",
	ReasonUserNotAllowed:      "user_not_allowed",
	ReasonGroupNotAllowed:     "group_not_allowed",
	ReasonClientNotAllowed:    "client_not_allowed",
	ReasonSourceNotAllowed:    "source_not_allowed",
	ReasonScope:               "scope",
	ReasonReadOnly:            "read_only",
	ReasonExpression:          "expression",
	ReasonStepUp:              "step_up",
	ReasonProviderDown:        "provider_down",
	ReasonThrottled:           "throttled",
	ReasonMisconfigured:       "misconfigured",
	ReasonGroupsUnknown:       "groups_unknown",
	ReasonOverload:            "overload",
	ReasonPanic:               "panic",
	ReasonInternal:            "internal",
}

// String returns the word used in logs and metrics, in snake_case.
func (r Reason) String() string { return reasonWords[r] }
