package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// HTTPServer answers /metrics, /healthz and /readyz.
type HTTPServer struct {
	listener net.Listener
	server   *http.Server
	registry *prometheus.Registry
	log      *slog.Logger
	node     atomic.Pointer[Node]
	done     sync.WaitGroup
}

// maxHTTPHeaderBytes bounds a request, which has nothing to say but its path.
const maxHTTPHeaderBytes = 16 << 10

// ListenHTTP binds the address and begins to answer: /healthz with 200, and
// /readyz with 503 until Serve.
func ListenHTTP(ctx context.Context, address string, registry *prometheus.Registry, logger *slog.Logger) (*HTTPServer, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for HTTP: %w", err)
	}
	h := &HTTPServer{listener: ln, registry: registry, log: logger}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { sayStatus(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", h.ready)
	h.server = &http.Server{
		Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHTTPHeaderBytes,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	h.done.Go(func() {
		if err := h.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("HTTP server ends", "cause", err)
		}
	})
	return h, nil
}

// Addr is the bound address.
func (h *HTTPServer) Addr() net.Addr { return h.listener.Addr() }

// Serve shows the node's partitions under /metrics, and makes the node's state
// that of /readyz.
func (h *HTTPServer) Serve(node Node) {
	h.node.Store(&node)
	if err := h.registry.Register(NewPartitionCollector(node, 0)); err != nil {
		h.log.Error("partitions have no metrics", "cause", err)
	}
}

// ready answers 200 where the node serves: it has its metadata, and all of its
// replicas take writes or are known to be offline.
func (h *HTTPServer) ready(w http.ResponseWriter, _ *http.Request) {
	node := h.node.Load()
	if node == nil {
		sayStatus(w, http.StatusServiceUnavailable, "starting")
		return
	}
	if err := (*node).Ready(); err != nil {
		sayStatus(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	sayStatus(w, http.StatusOK, "ready")
}

func sayStatus(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text+"\n") // a client that left does not matter
}

// Close stops answering; requests under way have until ctx ends.
func (h *HTTPServer) Close(ctx context.Context) error {
	err := h.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, h.server.Close())
	}
	h.done.Wait()
	if err != nil {
		return fmt.Errorf("close HTTP server: %w", err)
	}
	return nil
}
