// Package routers has no code: its tests mount Freshet on routers that the main module does not need.
package routers
