package rfc9111

import (
	"fmt"
	"slices"
	"strings"
)

// Device is a class of clients' devices.
type Device uint8

// The classes.
const (
	DeviceDesktop Device = iota
	DeviceMobile
	DeviceTablet
)

// String gives the class's one name.
func (d Device) String() string {
	switch d {
	case DeviceMobile:
		return "mobile"
	case DeviceTablet:
		return "tablet"
	default:
		return "desktop"
	}
}

// ParseDevice reads what String gives.
func ParseDevice(name string) (Device, error) {
	for d := DeviceDesktop; d <= DeviceTablet; d++ {
		if d.String() == name {
			return d, nil
		}
	}
	return 0, fmt.Errorf("device class %q is none of desktop, mobile, tablet", name)
}

// DeviceField is the request field in which an origin is told the device class
// of a client, where that is in the key, and a shield by an edge. A client's own
// counts for nothing.
const DeviceField = "X-Device-Class"

// deviceOther is the class of all devices that a policy does not tell apart.
const deviceOther = "other"

// Class is the device class of a client's request as it is in the key; "" where
// it is not.
func (k *KeyPolicy) Class(req Fields) string {
	if len(k.Devices) == 0 {
		return ""
	}
	if d := DeviceOf(req); slices.Contains(k.Devices, d) {
		return d.String()
	}
	return deviceOther
}

// ClassTold is Class for a request that an edge has sent, whose DeviceField can
// be believed. One without it has not been told apart before.
func (k *KeyPolicy) ClassTold(req Fields) string {
	told := req.Values(DeviceField)
	if len(k.Devices) == 0 || len(told) != 1 {
		return k.Class(req)
	}
	if d, err := ParseDevice(told[0]); err == nil && slices.Contains(k.Devices, d) {
		return told[0]
	}
	return deviceOther
}

// userAgentBytesMax is how much of User-Agent is looked at.
const userAgentBytesMax = 512

// DeviceOf tells the class of a request's device: by Sec-CH-UA-Mobile if that
// says mobile, else by words in User-Agent. What says nothing is a desktop.
func DeviceOf(req Fields) Device {
	if hint := req.Values("Sec-Ch-Ua-Mobile"); len(hint) == 1 && strings.Trim(hint[0], " \t") == "?1" {
		return DeviceMobile
	}
	agents := req.Values("User-Agent")
	if len(agents) == 0 {
		return DeviceDesktop
	}
	agent := agents[0][:min(len(agents[0]), userAgentBytesMax)]
	mobile := strings.Contains(agent, "Mobi")
	switch {
	case strings.Contains(agent, "iPad"), strings.Contains(agent, "Tablet"), strings.Contains(agent, "Kindle"),
		strings.Contains(agent, "Android") && !mobile:
		return DeviceTablet
	case mobile, strings.Contains(agent, "iPhone"):
		return DeviceMobile
	}
	return DeviceDesktop
}
