package providers

import "net/http"

// HTTPClient returns a client that calls the provider as its own checks do:
// trusting ca_file, bounded in time, following no redirect. The login command
// fetches tokens with it. The error says what is wrong with ca_file.
func HTTPClient(c Config) (*http.Client, error) {
	made, err := newClient(c)
	if err != nil {
		return nil, err
	}
	return made.http, nil
}
