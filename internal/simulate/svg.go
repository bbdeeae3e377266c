package simulate

import (
	"bytes"
	"fmt"
	"html"
	"math"
)

// The picture, in pixels: a frame for the lines, and room for words around it.
const (
	pictureWidth, pictureHeight = 720, 440
	frameLeft, frameTop         = 60, 50
	frameWidth, frameHeight     = 460, 320
)

// series is one line of the picture.
type series struct {
	name   string
	colour string
	dashes string
	of     func(point) float64
}

func allSeries() []series {
	return []series{
		{"memory, objects", "#1f5fbf", "", func(p point) float64 { return p.MemoryObjectHitRatio }},
		{"memory, bytes", "#1f5fbf", "5 4", func(p point) float64 { return p.MemoryByteHitRatio }},
		{"disk, objects", "#c0571b", "", func(p point) float64 { return p.DiskObjectHitRatio }},
		{"disk, bytes", "#c0571b", "5 4", func(p point) float64 { return p.DiskByteHitRatio }},
	}
}

// drawn is the curve as an SVG: hit ratio over size, whose axis is logarithmic.
func drawn(r report) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", pictureWidth, pictureHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", pictureWidth, pictureHeight)
	text(&b, frameLeft, 24, "start", fmt.Sprintf("%s: hit ratio by cache size; footprint %s, policy %s", r.Trace, round(r.FootprintBytes), r.Policy))
	for percent := 0; percent <= 100; percent += 20 {
		y := yOf(float64(percent) / 100)
		line(&b, frameLeft, y, frameLeft+frameWidth, y)
		text(&b, frameLeft-8, y+4, "end", fmt.Sprintf("%d%%", percent))
	}
	for _, p := range r.Curve {
		x := xOf(p.FootprintShare)
		line(&b, x, frameTop, x, frameTop+frameHeight)
		if isDecade(p.FootprintShare) {
			text(&b, x, frameTop+frameHeight+18, "middle", fmt.Sprintf("%g%%", 100*p.FootprintShare))
			text(&b, x, frameTop+frameHeight+34, "middle", round(p.Bytes))
		}
	}
	for i, s := range allSeries() {
		drawSeries(&b, s, r.Curve, float64(frameTop+20+20*i))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func drawSeries(b *bytes.Buffer, s series, points []point, legendY float64) {
	fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="2" stroke-dasharray="%s" points="`, s.colour, s.dashes)
	for _, p := range points {
		fmt.Fprintf(b, "%.1f,%.1f ", xOf(p.FootprintShare), yOf(s.of(p)))
	}
	b.WriteString("\"/>\n")
	const x = frameLeft + frameWidth + 12
	fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="%s" stroke-width="2" stroke-dasharray="%s"/>`+"\n",
		x, legendY, x+24, legendY, s.colour, s.dashes)
	text(b, x+30, legendY+4, "start", s.name)
}

func line(b *bytes.Buffer, x1, y1, x2, y2 float64) {
	fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#dddddd"/>`+"\n", x1, y1, x2, y2)
}

func text(b *bytes.Buffer, x, y float64, anchor, words string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, html.EscapeString(words))
}

// xOf places a share of the footprint between the first and the last of the
// curve's sizes.
func xOf(share float64) float64 {
	low, high := math.Log(curvePercents[0]), math.Log(curvePercents[len(curvePercents)-1])
	return frameLeft + frameWidth*(math.Log(100*share)-low)/(high-low)
}

func yOf(ratio float64) float64 { return frameTop + frameHeight*(1-ratio) }

func isDecade(share float64) bool {
	exponent := math.Log10(share)
	return math.Abs(exponent-math.Round(exponent)) < 1e-9
}
