package parts

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// The administrator of every Keycloak made here. It listens on loopback and
// holds nothing but test data.
const (
	KeycloakAdmin         = "admin"
	KeycloakAdminPassword = "admin-of-tests"
)

// KeycloakEnv is the environment that kc.sh is started with: a small heap and
// quick start count, peak speed does not. What it calls is on this machine, also
// where the way out of it is a proxy.
func KeycloakEnv() []string {
	return []string{
		"JAVA_OPTS=-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xms64m -Xmx512m -XX:MaxMetaspaceSize=256m" +
			" -Djava.security.egd=file:/dev/urandom -Djava.util.logging.manager=org.jboss.logmanager.LogManager",
		"KC_BOOTSTRAP_ADMIN_USERNAME=" + KeycloakAdmin,
		"KC_BOOTSTRAP_ADMIN_PASSWORD=" + KeycloakAdminPassword,
		"NO_PROXY=127.0.0.1,localhost", "no_proxy=127.0.0.1,localhost",
	}
}

// KeycloakArgs are the arguments of kc.sh that start the built Keycloak on two
// loopback ports, with its data under home.
func KeycloakArgs(home string, port, management int) []string {
	return []string{
		"-Dkc.home.dir=" + home, "start", "--optimized", "--cache=local",
		"--hostname-strict=false", "--http-enabled=true", "--http-host=127.0.0.1",
		"--http-port=" + strconv.Itoa(port), "--http-management-port=" + strconv.Itoa(management),
	}
}

// KeycloakHome makes a home for one more Keycloak in the empty folder home: the
// program is linked, the data (an empty master realm) is a copy of its own.
func KeycloakHome(home string) error {
	dir, err := Dir("keycloak")
	if err != nil {
		return err
	}
	for _, name := range []string{"conf", "lib", "providers", "themes"} {
		if err := os.Symlink(filepath.Join(dir, name), filepath.Join(home, name)); err != nil {
			return err
		}
	}
	return os.CopyFS(filepath.Join(home, "data"), os.DirFS(filepath.Join(dir, "data")))
}

// installKeycloak unpacks the distribution, builds it with the options that
// tests need and starts it once, which lays out its database. All of that is
// slow, and is so spared every later start.
func installKeycloak(j job, dir string) error {
	for _, need := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(need); err != nil {
			return fmt.Errorf("needs Java 17 or newer and Maven: %s is not on PATH", need)
		}
	}
	j.say("fetching with Maven")
	if err := j.run(dir, nil, "mvn", "-q", "-B", "dependency:copy", "-DoutputDirectory="+dir,
		"-Dartifact=org.keycloak:keycloak-quarkus-dist:"+j.part.Version+":zip"); err != nil {
		return err
	}
	archive := filepath.Join(dir, "keycloak-quarkus-dist-"+j.part.Version+".zip")
	if err := unzip(archive, "keycloak-"+j.part.Version+"/", dir); err != nil {
		return err
	}
	if err := os.Remove(archive); err != nil {
		return err
	}
	j.say("building (half a minute)")
	if err := j.run(dir, KeycloakEnv(), filepath.Join(dir, "bin", "kc.sh"), "build", "--db=dev-file",
		"--health-enabled=true", "--features=dpop", "--https-client-auth=request"); err != nil {
		return err
	}
	j.say("starting once to lay out its database (half a minute)")
	return j.firstStart(dir)
}

func (j job) firstStart(dir string) error {
	port, management, err := twoPorts()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(j, filepath.Join(dir, "bin", "kc.sh"), KeycloakArgs(dir, port, management)...)
	cmd.Env = append(os.Environ(), KeycloakEnv()...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	log, err := os.Create(filepath.Join(dir, "first-start.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	deadline := time.After(5 * time.Minute)
	for tick := time.NewTicker(200 * time.Millisecond); ; {
		select {
		case err := <-ended:
			b, _ := os.ReadFile(log.Name())
			return fmt.Errorf("the first start ended: %w\n%s", err, tail(b, 2000))
		case <-deadline:
			_ = cmd.Process.Signal(syscall.SIGTERM)
			return errors.New("the first start was not ready after 5 minutes")
		case <-tick.C:
		}
		if answersOK("http://127.0.0.1:" + strconv.Itoa(management) + "/health/ready") {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			<-ended // its exit status says only that it was asked to end
			return nil
		}
	}
}

func answersOK(url string) bool {
	client := http.Client{Timeout: time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func twoPorts() (a, b int, err error) {
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, 0, err
	}
	defer first.Close()
	second, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, 0, err
	}
	defer second.Close()
	return first.Addr().(*net.TCPAddr).Port, second.Addr().(*net.TCPAddr).Port, nil
}
