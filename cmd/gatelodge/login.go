package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/login"
	"github.com/gatelodge/gatelodge/providers"
)

// The flows, by their names on the command line.
const (
	flowCode   = "code"
	flowDevice = "device"
	flowClient = "client-credentials"
)

type loginFlags struct {
	config    string
	provider  string
	flow      string
	client    string
	secret    secretFlags
	stdin     bool
	scopes    []string
	resource  string
	audience  string
	redirect  string
	noBrowser bool
	timeout   time.Duration
}

func newLogin() *cobra.Command {
	var f loginFlags
	cmd := &cobra.Command{
		Use:   "login --config FILE --provider NAME",
		Short: "Fetch an access token from a provider",
		Long: `Login fetches an access token and prints it, and nothing else, on standard output;
what there is to do for it is told on standard error. The provider's endpoints
are those of the configuration, else of the provider's own metadata.

  --flow code                a browser is opened to sign in, and brings the answer to a
                             loopback port (RFC 8252), always with PKCE; without a
                             browser here, the page's address is printed
  --flow device              a code is typed on a page anywhere (RFC 8628)
  --flow client-credentials  the client itself, without a user

The client is the provider's client_id of the configuration with its secret, or
the one of --client, whose secret is read from a file, the environment or
standard input; without any it is a public client. For --flow code, the redirect
URI of --redirect must be registered with the client; port 0 stands for any.

Exit status: 0 a token was printed, 1 the provider refused, 2 wrong use or
configuration, 3 the provider could not be reached or nobody signed in.`,
		Example: `  gatelodge login --config gatelodge.yaml --provider sso
  gatelodge login --config gatelodge.yaml --provider sso --flow device | gatelodge test --config gatelodge.yaml
  gatelodge login --config gatelodge.yaml --provider sso --flow client-credentials --client job --client-secret-env JOB_SECRET`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runLogin(cmd, &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "", "the configuration `FILE`")
	flags.StringVar(&f.provider, "provider", "", "`NAME` of the provider in the configuration")
	flags.StringVar(&f.flow, "flow", flowCode, "the `FLOW`: code, device or client-credentials")
	flags.StringVar(&f.client, "client", "", "client `ID` to use instead of the provider's client_id")
	flags.BoolVar(&f.stdin, "client-secret-stdin", false, "read the client secret from standard input")
	flags.StringSliceVar(&f.scopes, "scope", nil, "`SCOPES` to ask for, as openid,email (default: openid,profile,email where a user signs in with OpenID Connect)")
	flags.StringVar(&f.resource, "resource", "", "the `API` that the token is for (RFC 8707)")
	flags.StringVar(&f.audience, "audience", "", "the `API` that the token is for, for providers that call it so")
	flags.StringVar(&f.redirect, "redirect", login.DefaultRedirect, "`URL` that the browser is sent back to; port 0: any")
	flags.BoolVar(&f.noBrowser, "no-browser", false, "open no browser, only print the page's address")
	flags.DurationVar(&f.timeout, "timeout", 5*time.Minute, "the `TIME` to wait for somebody to sign in")
	f.secret.add(cmd, "client-secret")
	cmd.MarkFlagsMutuallyExclusive("client-secret-stdin", "client-secret-file", "client-secret-env")
	_ = cmd.MarkFlagRequired("config")   // the flag was defined above
	_ = cmd.MarkFlagRequired("provider") // the flag was defined above
	return cmd
}

func runLogin(cmd *cobra.Command, f *loginFlags) error {
	settings, err := loginSettings(cmd, f)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), f.timeout, fmt.Errorf("nobody signed in within %s", f.timeout))
	defer cancel()
	var token authz.Secret
	switch f.flow {
	case flowCode:
		token, err = settings.Code(ctx, f.redirect)
	case flowDevice:
		token, err = settings.Device(ctx)
	case flowClient:
		token, err = settings.ClientCredentials(ctx)
	default:
		return fmt.Errorf("--flow %q is none of code, device, client-credentials", f.flow)
	}
	var refusal *login.Refusal
	switch {
	case err == nil:
		_, err = fmt.Fprintln(cmd.OutOrStdout(), token.Reveal())
		return err
	case errors.Is(err, login.ErrSettings), errors.As(err, &refusal) && refusal.OurFault():
		return err
	case errors.As(err, &refusal):
		return no(err)
	}
	return undecided(err)
}

// loginSettings puts together what the configuration and the flags say.
func loginSettings(cmd *cobra.Command, f *loginFlags) (*login.Settings, error) {
	c, err := loadConfig(f.config)
	if err != nil {
		return nil, err
	}
	p, err := findProvider(c, f.provider)
	if err != nil {
		return nil, err
	}
	p = providers.Prepare(p)
	s := &login.Settings{
		ClientID: p.ClientID, ClientSecret: p.ClientSecret, ClientAuth: p.ClientAuth, AllowHTTP: p.AllowHTTP,
		Resource: f.resource, Audience: f.audience, Scopes: f.scopes,
		Tell: cmd.ErrOrStderr(), Open: login.OpenBrowser,
	}
	if f.noBrowser {
		s.Open = nil
	}
	s.Discovery, s.Issuer, s.Endpoints = signIn(p)
	if s.ClientAuth == "" && ownWay(p) {
		s.ClientAuth = "post"
	}
	if f.client != "" {
		// The secret of the configuration is another client's.
		s.ClientID, s.ClientSecret = f.client, authz.Secret{}
		if !ownWay(p) {
			s.ClientAuth = ""
		}
	}
	if s.ClientID == "" {
		return nil, fmt.Errorf("provider %q has no client_id in the configuration: name a client with --client", f.provider)
	}
	if f.stdin || f.secret.given() {
		if s.ClientSecret, err = f.secret.read(cmd); err != nil {
			return nil, err
		}
	}
	if s.HTTP, err = providers.HTTPClient(p); err != nil {
		return nil, fmt.Errorf("provider %q: %w", f.provider, err)
	}
	// OpenID Connect is what a provider with metadata speaks; asking for it
	// brings the ID token that the sign-in is checked by.
	if s.Scopes == nil && s.Discovery != "" && f.flow != flowClient {
		s.Scopes = []string{"openid", "profile", "email"}
	}
	return s, nil
}

// ownWay reports whether tokens of the provider's kind are fetched at addresses
// that no metadata tells of. Such providers (GitHub, Facebook, Slack) say in their
// documents that id and secret go into the body.
func ownWay(p providers.Config) bool {
	kind, ok := providers.Find(p.Type)
	return ok && kind.SignIn != nil && kind.SignIn(p).Token != ""
}

// signIn returns where a provider's tokens are fetched: what its kind knows,
// with what its endpoints say over it.
func signIn(p providers.Config) (discovery, issuer string, _ login.Endpoints) {
	var known providers.Endpoints
	if kind, ok := providers.Find(p.Type); ok && kind.SignIn != nil {
		known = kind.SignIn(p)
	}
	set := p.Endpoints
	discovery, issuer = cmp.Or(set.Discovery, known.Discovery), cmp.Or(set.Issuer, known.Issuer)
	if discovery == "" && issuer != "" {
		discovery = strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
	}
	return discovery, issuer, login.Endpoints{
		Authorization:       cmp.Or(set.Authorization, known.Authorization),
		Token:               cmp.Or(set.Token, known.Token),
		DeviceAuthorization: cmp.Or(set.DeviceAuthorization, known.DeviceAuthorization),
	}
}
