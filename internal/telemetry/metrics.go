package telemetry

import (
	"maps"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/gatelodge/gatelodge/authz"
)

const outcomes = int(authz.Answered) + 1

// Metrics counts decisions. It keeps its own atomic counters and turns them
// into Prometheus's form only when they are asked for.
type Metrics struct {
	Registry *prometheus.Registry

	mu     sync.Mutex
	tables atomic.Pointer[map[string]*table] // by provider
	took   histogram
	events *prometheus.CounterVec

	state func() State
}

// State is what is shown beside the decisions; it is asked for at each scrape.
type State struct {
	Cache         authz.CacheStats
	Providers     map[string]ProviderState
	Reloads       uint64
	FailedReloads uint64
	AuditDropped  uint64
	Enabled       bool
	Shadow        bool
}

// ProviderState is the health of one provider.
type ProviderState struct{ Ready, Misconfigured bool }

type table [outcomes][authz.Reasons]atomic.Uint64

// NewMetrics makes metrics; state is asked at each scrape.
func NewMetrics(state func() State) *Metrics {
	m := &Metrics{Registry: prometheus.NewRegistry(), state: state}
	m.tables.Store(&map[string]*table{"": new(table)})
	m.events = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatelodge_revocations_total", Help: "Logouts and security events of identity providers, by what became of them.",
	}, []string{"provider", "kind", "result"})
	m.Registry.MustRegister(m, m.events, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector())
	return m
}

// Observe implements envoy.Observer.
func (m *Metrics) Observe(_ *authz.Request, d *authz.Decision, took time.Duration) {
	m.table(d.Provider)[d.Outcome][d.Reason].Add(1)
	m.took.observe(took)
}

// Event counts what a provider told by itself. kind and result are words of our
// own, never somebody else's text.
func (m *Metrics) Event(provider, kind, result string) {
	m.events.WithLabelValues(provider, kind, result).Inc()
}

func (m *Metrics) table(provider string) *table {
	if t := (*m.tables.Load())[provider]; t != nil {
		return t
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	next := maps.Clone(*m.tables.Load())
	if next[provider] == nil {
		next[provider] = new(table)
	}
	m.tables.Store(&next)
	return next[provider]
}

// histogram has a bucket for each power of two of microseconds.
type histogram struct {
	buckets [24]atomic.Uint64
	nanos   atomic.Uint64
}

func (h *histogram) observe(took time.Duration) {
	i := bits.Len64(uint64(max(took.Microseconds(), 0)))
	h.buckets[min(i, len(h.buckets)-1)].Add(1)
	h.nanos.Add(uint64(max(took, 0)))
}

var (
	decisionsDesc = prometheus.NewDesc("gatelodge_decisions_total", "Decisions, by outcome, reason and provider.", []string{"outcome", "reason", "provider"}, nil)
	durationDesc  = prometheus.NewDesc("gatelodge_decision_duration_seconds", "Time to decide one request.", nil, nil)
	cacheDesc     = prometheus.NewDesc("gatelodge_cache_entries", "Remembered answers, by kind.", []string{"kind"}, nil)
	cacheBytes    = prometheus.NewDesc("gatelodge_cache_bytes", "Memory of the remembered answers, estimated.", nil, nil)
	lookupsDesc   = prometheus.NewDesc("gatelodge_cache_lookups_total", "Look-ups, by result.", []string{"result"}, nil)
	evictedDesc   = prometheus.NewDesc("gatelodge_cache_evictions_total", "Answers that made room for others or ended.", nil, nil)
	revokedDesc   = prometheus.NewDesc("gatelodge_revocations_remembered", "Sessions and users whose older tokens are refused.", nil, nil)
	lostDesc      = prometheus.NewDesc("gatelodge_revocations_lost_total", "Revocations that were forgotten before their time to make room for others (cache.max_revocations).", nil, nil)
	providerDesc  = prometheus.NewDesc("gatelodge_provider_ready", "1 where the provider's tokens can be checked.", []string{"provider"}, nil)
	wrongDesc     = prometheus.NewDesc("gatelodge_provider_misconfigured", "1 where the provider refuses us: the settings are wrong.", []string{"provider"}, nil)
	reloadsDesc   = prometheus.NewDesc("gatelodge_config_reloads_total", "Changes of the configuration, by result.", []string{"result"}, nil)
	droppedDesc   = prometheus.NewDesc("gatelodge_audit_dropped_total", "Decisions that could not be recorded.", nil, nil)
	enabledDesc   = prometheus.NewDesc("gatelodge_enabled", "0 where the global switch lets everything through.", nil, nil)
	shadowDesc    = prometheus.NewDesc("gatelodge_shadow", "1 where nothing is refused, only recorded.", nil, nil)
)

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		decisionsDesc, durationDesc, cacheDesc, cacheBytes, lookupsDesc, evictedDesc, providerDesc, wrongDesc, reloadsDesc,
		droppedDesc, enabledDesc, shadowDesc, revokedDesc, lostDesc,
	} {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(c chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for provider, t := range *m.tables.Load() {
		for o := range t {
			for r := range t[o] {
				if n := t[o][r].Load(); n > 0 {
					counter(decisionsDesc, n, authz.Outcome(o).String(), authz.Reason(r).String(), provider)
				}
			}
		}
	}
	m.took.collect(c)
	s := m.state()
	gauge(cacheDesc, float64(s.Cache.Entries), "identity")
	gauge(cacheDesc, float64(s.Cache.NegativeEntries), "refusal")
	gauge(cacheBytes, float64(s.Cache.Bytes))
	counter(lookupsDesc, s.Cache.Hits, "hit")
	counter(lookupsDesc, s.Cache.Misses, "miss")
	counter(evictedDesc, s.Cache.Evicted)
	gauge(revokedDesc, float64(s.Cache.Revocations))
	counter(lostDesc, s.Cache.LostRevocations)
	for name, p := range s.Providers {
		gauge(providerDesc, number(p.Ready), name)
		gauge(wrongDesc, number(p.Misconfigured), name)
	}
	counter(reloadsDesc, s.Reloads, "ok")
	counter(reloadsDesc, s.FailedReloads, "failed")
	counter(droppedDesc, s.AuditDropped)
	gauge(enabledDesc, number(s.Enabled))
	gauge(shadowDesc, number(s.Shadow))
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (h *histogram) collect(c chan<- prometheus.Metric) {
	bounds, total := make(map[float64]uint64, len(h.buckets)), uint64(0)
	for i := range h.buckets {
		total += h.buckets[i].Load()
		if i < len(h.buckets)-1 {
			bounds[float64(uint64(1)<<i)/1e6] = total
		}
	}
	c <- prometheus.MustNewConstHistogram(durationDesc, total, float64(h.nanos.Load())/1e9, bounds)
}
