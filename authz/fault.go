package authz

// A Fault is one thing wrong with a setting: the key it stands under, what is
// wrong there and what would be right. Keys are dotted paths relative to the
// value that was checked, with list positions in brackets: "match.paths[1]".
type Fault struct{ Key, Problem string }
