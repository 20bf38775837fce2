// Package shadow sums up what shadow mode recorded: who would be refused once
// the rules are enforced, by caller, path and reason, so that a migration can
// be planned.
package shadow
