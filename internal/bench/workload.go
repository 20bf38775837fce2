package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// workload is a kind of traffic.
type workload struct {
	name  string
	about string // how it is told in the report
	rules int    // rules of the configuration in front of the one that matches

	// warm and draw return credentials by number: warm what is sent before the
	// clock runs, draw those of one round.
	warm func(o *options) []int
	draw func(o *options, random *rand.Rand) []int

	forge   bool // the signature of each is wrong, and new
	silent  bool // there is no credential
	local   bool // API tokens of our own are sent
	opaque  bool // tokens are sent that their provider has to be asked about
	proxied bool // it is measured through Envoy too
}

// request is one check to be sent.
type request struct {
	credential string
	user       string // who it speaks for; "": it must be denied
}

// manyTokens is how many different tokens the largest workload draws from.
const manyTokens = 200_000

var workloads = []workload{
	{name: "hot token", about: "one token, again and again", rules: 20, warm: one, draw: same, proxied: true},
	{
		name: "10,000 tokens", about: "each as likely as the others", rules: 20,
		proxied: true,
		warm:    func(o *options) []int { return sequence(o.tokens) },
		draw: func(o *options, random *rand.Rand) []int {
			return fill(o.checks, func() int { return random.IntN(o.tokens) })
		},
	},
	{
		name: "200,000 tokens", about: "drawn by Zipf's law, s = 1.1, after eight rounds of them: one in eleven is new", rules: 20,
		warm: func(o *options) []int { return zipf(8*o.checks, rand.New(rand.NewPCG(1, 1))) },
		draw: func(o *options, random *rand.Rand) []int { return zipf(o.checks, random) },
	},
	{name: "bad signatures", about: "each new, and found wrong only by computing it", rules: 20, warm: one, draw: same, forge: true, proxied: true},
	{name: "no token", about: "refused with 401", rules: 20, warm: one, draw: same, silent: true, proxied: true},
	{
		name: "100,000 API tokens", about: "of our own, in SQLite, each as likely as the others and used a moment ago", rules: 20, local: true,
		proxied: true,
		warm:    func(o *options) []int { return sequence(o.stored) },
		draw: func(o *options, random *rand.Rand) []int {
			return fill(o.checks, func() int { return random.IntN(o.stored) })
		},
	},
	{
		name: "10,000 opaque tokens", about: "introspected, each as likely as the others; the provider was asked once about each", rules: 20, opaque: true,
		// Each twice in a row, so that the second comes while the first is asked about.
		warm: func(o *options) []int {
			next := -1
			return fill(2*o.tokens, func() int { next++; return next / 2 })
		},
		draw: func(o *options, random *rand.Rand) []int {
			return fill(o.checks, func() int { return random.IntN(o.tokens) })
		},
	},
	{name: "1,000 rules", about: "one token; the rule that matches is the last", rules: 999, warm: one, draw: same},
}

func one(o *options) []int { return make([]int, o.checks) }

func same(o *options, _ *rand.Rand) []int { return one(o) }

func sequence(n int) []int {
	next := -1
	return fill(n, func() int { next++; return next })
}

// rounds draws and makes the requests of n rounds, with at most so many in
// each: signing takes longer than checking does, and is done before the servers
// are started, so that what they remember does not grow old meanwhile.
func (l *lab) rounds(w *workload, n, checks int) [][]request {
	list := make([][]request, n)
	for round := range list {
		numbers := w.draw(l.options, rand.New(rand.NewPCG(2, uint64(round))))
		list[round] = l.requests(w, numbers[:min(checks, len(numbers))])
	}
	return list
}

func zipf(n int, random *rand.Rand) []int {
	z := rand.NewZipf(random, 1.1, 1, manyTokens-1)
	return fill(n, func() int { return int(z.Uint64()) })
}

func fill(n int, next func() int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = next()
	}
	return list
}

// requests makes the checks of a workload for tokens of these numbers.
func (l *lab) requests(w *workload, numbers []int) []request {
	tokens := l.issuer.tokens
	switch {
	case w.local:
		tokens = l.stored.tokens
	case w.opaque:
		tokens = l.asked.tokens
	default:
		l.issuer.sign(numbers)
	}
	list := make([]request, len(numbers))
	for k, n := range numbers {
		switch {
		case w.silent:
		case w.forge:
			list[k] = request{credential: forged(tokens[n])}
		default:
			list[k] = request{tokens[n], userOf(n)}
		}
	}
	return list
}

// check is the captured check that the requests of a workload fit into.
func (l *lab) check(w *workload) *captured {
	switch {
	case w.silent:
		return &l.silent
	case w.local, w.opaque:
		return &l.short
	}
	return &l.bearer
}

// judge returns an error for an answer that is not the right one.
type judge func(r *request, answer []byte) error

// userHeader is where the upstream reads who is calling.
const userHeader = "x-forwarded-user"

// judgeGatelodge wants an OK with the right user, or a 401 with none. It reads
// the fields that Envoy obeys; what else is in the answer judgeWhole looks at.
func judgeGatelodge(r *request, answer []byte) error {
	status, ok, err := outcome(answer)
	switch {
	case err != nil:
		return err
	case r.user == "":
		if status != uint64(code.Code_UNAUTHENTICATED) || ok != nil {
			return fmt.Errorf("a bad or missing credential is answered with status %d", status)
		}
		return nil
	case status != uint64(code.Code_OK) || ok == nil:
		return fmt.Errorf("a good token is answered with status %d", status)
	}
	var want [64]byte
	option := protowire.AppendString(append(want[:0], 1<<3|2), userHeader)
	option = protowire.AppendString(append(option, 2<<3|2), r.user)
	if !bytes.Contains(ok, option) {
		return fmt.Errorf("the answer does not name %s", r.user)
	}
	return nil
}

// judgeNoop wants a yes, whoever asks.
func judgeNoop(_ *request, answer []byte) error {
	return judgeGatelodge(&request{user: noopUser}, answer)
}

// outcome reads the status of an answer and its OkHttpResponse.
func outcome(answer []byte) (status uint64, ok []byte, err error) {
	for rest := answer; len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 || kind != protowire.BytesType {
			return 0, nil, fmt.Errorf("not a CheckResponse: %x", answer)
		}
		value, m := protowire.ConsumeBytes(rest[n:])
		if m < 0 {
			return 0, nil, fmt.Errorf("not a CheckResponse: %x", answer)
		}
		rest = rest[n+m:]
		switch {
		case number == 1 && len(value) > 1 && value[0] == 1<<3:
			status, _ = protowire.ConsumeVarint(value[1:])
		case number == 3:
			ok = value
		}
	}
	return status, ok, nil
}

// judgeWhole looks at every part of an answer of Gatelodge with everything
// switched on, before it is timed.
func judgeWhole(r *request, answer []byte) error {
	if err := judgeGatelodge(r, answer); err != nil {
		return err
	}
	var m authv3.CheckResponse
	if err := proto.Unmarshal(answer, &m); err != nil {
		return err
	}
	if m.GetDynamicMetadata().GetFields()["decision_id"].GetStringValue() == "" {
		return fmt.Errorf("no decision id in the metadata of %v", &m)
	}
	if r.user == "" {
		if m.GetDeniedResponse().GetStatus().GetCode() != 401 {
			return fmt.Errorf("not a 401: %v", &m)
		}
		return nil
	}
	set := map[string]string{}
	for _, h := range m.GetOkResponse().GetHeaders() {
		set[h.GetHeader().GetKey()] = h.GetHeader().GetValue()
	}
	removed := map[string]bool{}
	for _, name := range m.GetOkResponse().GetHeadersToRemove() {
		removed[name] = true
	}
	switch {
	case set[userHeader] != r.user, set["x-forwarded-groups"] == "", set["x-forwarded-provider"] == "":
		return fmt.Errorf("identity headers are wrong: %v", &m)
	case !removed["authorization"], !removed["x_forwarded_user"]:
		return fmt.Errorf("what must be taken off the request is not: %v", &m)
	}
	return nil
}
