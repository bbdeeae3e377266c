package main

import (
	"strings"
	"time"

	"weir/internal/explain"
)

type explainCommand struct {
	lookup
	URL       string        `arg:"" help:"The URL, with its host and query. Of a lab, a path alone is that of its first PoP."`
	Header    []string      `short:"H" sep:"none" help:"Header field of the request to explain: it may choose another variant. Default: Accept-Encoding as a browser sends it." placeholder:"'NAME: VALUE'"`
	PoP       string        `name:"pop" help:"Ask this PoP and its shields only." placeholder:"NAME"`
	Control   string        `help:"URL of the control's API, in place of a lab's." placeholder:"URL"`
	TokenFile string        `help:"File with the API's token, for --control. WEIR_TOKEN serves as well." type:"existingfile" placeholder:"FILE"`
	Timeout   time.Duration `help:"How long to wait for the nodes, at most 10s." default:"2s"`
	JSON      bool          `help:"Print one JSON object."`
}

func (c explainCommand) Run(env *environment) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	return explain.Run(env.ctx, explain.Options{
		Client: client, JSON: c.JSON,
		Query: explain.Query{URL: c.URL, Fields: c.Header, PoP: c.PoP, Timeout: c.Timeout},
	}, env.out)
}

// client also completes a path to a URL of the lab that it finds.
func (c *explainCommand) client() (explain.Client, error) {
	if c.Control != "" {
		token, err := apiToken(c.TokenFile)
		return explain.Client{URL: c.Control, Token: token}, err
	}
	lab, err := c.read()
	if err != nil {
		return explain.Client{}, err
	}
	if strings.HasPrefix(c.URL, "/") && len(lab.PoPs) > 0 {
		c.URL = lab.PoPs[0].HTTP + c.URL
	}
	return explain.Client{URL: lab.Control, Token: lab.Token}, nil
}
