package app

import (
	"log/slog"
	"os"
	"sync"

	"freshet/auth"
	"freshet/config"
	"freshet/handlers"
	"freshet/middleware"

	"github.com/gin-gonic/gin"
)

// NewRouter returns a router with all routes of the handlers and the middleware in front of
// them. X-Forwarded-For counts only from the trusted proxies. The machine's own name is a host
// name of the server, beside those of the configuration.
func NewRouter(h *handlers.Handlers, keys *auth.Keys, cfg config.Config, logger *slog.Logger) (*gin.Engine, error) {
	cors, err := middleware.CORS(cfg.CORSOrigins)
	if err != nil {
		return nil, err
	}
	defer quietGin()()
	r := gin.New()
	r.RedirectTrailingSlash = false // a redirect would skip the middleware
	r.HandleMethodNotAllowed = true
	// Only this header: a proxy that appends to X-Forwarded-For passes on any other header as the client sent it.
	r.RemoteIPHeaders = []string{"X-Forwarded-For"}
	var trusted []string
	for _, p := range cfg.TrustedProxies {
		trusted = append(trusted, p.String())
	}
	if err := r.SetTrustedProxies(trusted); err != nil {
		return nil, err
	}
	machine, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	r.Use(middleware.RequestID())
	if cfg.TracerProvider != nil {
		r.Use(middleware.Trace(cfg.TracerProvider, handlers.PublicParameters())...)
	}
	r.Use(
		middleware.Log(logger, handlers.PublicParameters()),
		middleware.Recover(logger),
		h.CountErrors,
		middleware.Secure(),
		middleware.Hosts(append([]string{machine, machine + ".local"}, cfg.Hosts...)),
		cors,
		middleware.Authenticate(keys, cfg.CORSOrigins),
	)
	h.Register(r)
	r.NoRoute(h.NoRoute)
	r.NoMethod(h.NoMethod)
	return r, nil
}

// ginMode is held while Gin's mode is changed, because two applications can open at once.
var ginMode sync.Mutex

// quietGin stops Gin's debug output until the returned function is called. Without it, an app that embeds Freshet would log Gin's warning twice,
// and routes that its own router does not have.
func quietGin() (restore func()) {
	ginMode.Lock()
	if !gin.IsDebugging() {
		return ginMode.Unlock
	}
	gin.SetMode(gin.ReleaseMode)
	return func() {
		gin.SetMode(gin.DebugMode)
		ginMode.Unlock()
	}
}
