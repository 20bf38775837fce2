package telemetry

import (
	"encoding/json"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Readiness is what /readyz answers.
type Readiness struct {
	Ready     bool            `json:"ready"`
	Stopping  bool            `json:"stopping,omitempty"`
	Providers []ProviderReady `json:"providers,omitempty"`
	Config    string          `json:"config,omitempty"` // why the last change was not taken
}

// ProviderReady is one provider's part of it.
type ProviderReady struct {
	Name          string `json:"name"`
	Ready         bool   `json:"ready"`
	Misconfigured bool   `json:"misconfigured,omitempty"`
	Detail        string `json:"detail,omitempty"`
}

// AdminOptions are what the admin listener shows.
type AdminOptions struct {
	Registry *prometheus.Registry
	Ready    func() Readiness
	Hosts    []string // names it may be called by, beside addresses and localhost
	Log      *log.Logger
}

// Admin is the HTTP server of the admin listener. Other routes are put on Mux
// before it serves.
type Admin struct {
	Mux    *http.ServeMux
	server *http.Server
}

// NewAdmin makes the server.
func NewAdmin(o AdminOptions) *Admin {
	a := &Admin{Mux: http.NewServeMux()}
	a.Mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	a.Mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		ready := o.Ready()
		w.Header().Set("Content-Type", "application/json")
		if !ready.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(ready)
	})
	a.Mux.Handle("GET /metrics", promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	a.server = HTTPServer(guard(a.Mux, o.Hosts), o.Log)
	return a
}

// HTTPServer returns a server that leaves nobody all the time and memory that
// they like.
func HTTPServer(h http.Handler, l *log.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          l,
	}
}

// Serve answers on l until Close.
func (a *Admin) Serve(l net.Listener) error {
	if err := a.server.Serve(l); err != nil && err != http.ErrServerClosed {
		return err
	}
	return nil
}

// Close ends the server and its connections.
func (a *Admin) Close() error { return a.server.Close() }

// guard refuses requests that name a host which is not ours: a page in a
// browser that had its name point here (DNS rebinding). It sets the headers
// that keep a browser from making anything of the answers.
func guard(next http.Handler, hosts []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.ToLower(strings.Trim(host, "[]"))
		_, err := netip.ParseAddr(host)
		if err != nil && host != "localhost" && !slices.Contains(hosts, host) {
			http.Error(w, "this host name is not among admin.hosts", http.StatusMisdirectedRequest)
			return
		}
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		next.ServeHTTP(w, r)
	})
}
