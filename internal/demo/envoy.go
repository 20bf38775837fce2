package demo

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"
)

//go:embed envoy.yaml
var envoyYAML string

// ErrNoEnvoy says that there is no Envoy on this machine, and what to do.
var ErrNoEnvoy = errors.New("no Envoy found: run 'make demo' in the project's folder, which installs it into .tools/, " +
	"or name one with --envoy or $GATELODGE_ENVOY")

// FindEnvoy returns the Envoy to run: the one named, else $GATELODGE_ENVOY,
// else .tools/envoy/bin/envoy here or in a folder above, else the PATH's. One
// that is named and not there is an error, not a reason to look further.
func FindEnvoy(named string) (string, error) {
	if named == "" {
		named = os.Getenv("GATELODGE_ENVOY")
	}
	if named != "" {
		path, err := exec.LookPath(named)
		if err != nil {
			return "", fmt.Errorf("finding Envoy: %w", err)
		}
		return filepath.Abs(path)
	}
	dir, err := os.Getwd()
	for err == nil {
		if path, err := exec.LookPath(filepath.Join(dir, ".tools/envoy/bin/envoy")); err == nil {
			return path, nil
		}
		above := filepath.Dir(dir)
		if above == dir {
			break
		}
		dir = above
	}
	if path, err := exec.LookPath("envoy"); err == nil {
		return filepath.Abs(path)
	}
	return "", ErrNoEnvoy
}

// envoySettings fill envoy.yaml.
type envoySettings struct {
	Host      string // where the front listens
	Port      int    // 0: any
	APIHost   string
	APIPort   int
	Authz     string // unix socket of Gatelodge
	Admin     string // unix socket of Envoy's admin pages
	AccessLog string
}

// envoyProcess is a running Envoy.
type envoyProcess struct {
	front string // host:port of its listener
	stop  context.CancelFunc
	done  chan struct{} // closed when the process has ended
	err   error         // why; read after done
}

// startEnvoy writes the bootstrap into dir, starts the binary and waits until
// it takes requests or ctx ends.
func startEnvoy(ctx context.Context, binary, dir string, s envoySettings) (*envoyProcess, error) {
	bootstrap := filepath.Join(dir, "envoy.yaml")
	if err := writeBootstrap(bootstrap, s); err != nil {
		return nil, err
	}
	logPath := filepath.Join(dir, "envoy.log")
	logFile, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(life, binary, "--config-path", bootstrap,
		"--concurrency", "1", "--disable-hot-restart", "--log-level", "warning")
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second // then it is killed
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		stop()
		return nil, errors.Join(fmt.Errorf("starting Envoy: %w", err), logFile.Close())
	}
	p := &envoyProcess{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
		_ = logFile.Close() // written by the process, which is gone
	}()
	if p.front, err = p.ready(ctx, s.Admin); err != nil {
		p.close()
		return nil, fmt.Errorf("waiting for Envoy: %w; its log: %s", err, lastLines(logPath, 5))
	}
	return p, nil
}

func writeBootstrap(path string, s envoySettings) error {
	t, err := template.New("envoy.yaml").Parse(envoyYAML)
	if err != nil {
		return err
	}
	var text strings.Builder
	if err := t.Execute(&text, s); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text.String()), 0o600)
}

// close ends the process and waits for its end.
func (p *envoyProcess) close() {
	p.stop()
	<-p.done
}

// ready asks the admin pages until Envoy says that it is live, and returns
// where its listener is.
func (p *envoyProcess) ready(ctx context.Context, admin string) (string, error) {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", admin)
		},
	}}
	var front string
	err := poll(ctx, func() error {
		select {
		case <-p.done:
			return stopPolling{fmt.Errorf("it ended at once: %w", p.err)}
		default:
		}
		if _, err := get(ctx, client, "http://envoy/ready"); err != nil {
			return err
		}
		body, err := get(ctx, client, "http://envoy/listeners?format=json")
		if err != nil {
			return err
		}
		front, err = listenerAddress(body)
		return err
	})
	return front, err
}

// listenerAddress reads the answer of Envoy's /listeners?format=json.
func listenerAddress(body []byte) (string, error) {
	var answer struct {
		ListenerStatuses []struct {
			LocalAddress struct {
				SocketAddress struct {
					Address   string `json:"address"`
					PortValue int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("reading Envoy's listeners: %w", err)
	}
	for _, l := range answer.ListenerStatuses {
		if a := l.LocalAddress.SocketAddress; a.PortValue != 0 {
			return net.JoinHostPort(a.Address, strconv.Itoa(a.PortValue)), nil
		}
	}
	return "", errors.New("envoy has no listener")
}

// lastLines returns the end of a log for an error message.
func lastLines(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "\n" + strings.Join(lines[max(0, len(lines)-n):], "\n")
}
