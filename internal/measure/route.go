package measure

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"weir/internal/lab/regions"
	"weir/internal/ready"
)

// routeBytesMax bounds the router's answer, which has a line for each PoP.
const routeBytesMax = 1 << 20

// route asks the router which PoP serves a region's client.
func (r *run) route(ctx context.Context, region regions.Region) (ready.PoP, error) {
	name, err := r.askRouter(ctx, region.ClientAddr())
	if err != nil {
		return ready.PoP{}, fmt.Errorf("ask the router for the PoP of %s: %w", region.Name, err)
	}
	i := slices.IndexFunc(r.Ready.PoPs, func(p ready.PoP) bool { return p.Name == name })
	if i < 0 {
		return ready.PoP{}, fmt.Errorf("the router sends %s to PoP %q, which the ready file does not have", region.Name, name)
	}
	return r.Ready.PoPs[i], nil
}

// askRouter gives the name of the PoP for an address, from
// GET /v1/route?addr=ADDRESS, which answers {"pop":NAME, …}.
func (r *run) askRouter(ctx context.Context, addr netip.Addr) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	query := url.Values{"addr": {addr.String()}}.Encode()
	u := strings.TrimSuffix(r.Ready.Router, "/") + "/v1/route?" + query
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return "", err
	}
	// One request a region: none of them is worth keeping a connection for.
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body := io.LimitReader(response.Body, routeBytesMax)
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(body, 200))
		return "", fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(text)))
	}
	var choice struct {
		PoP string `json:"pop"`
	}
	if err := json.NewDecoder(body).Decode(&choice); err != nil {
		return "", fmt.Errorf("read its answer: %w", err)
	}
	return choice.PoP, nil
}
