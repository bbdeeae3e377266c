package rfc9111

import "testing"

func TestTrustOf(t *testing.T) {
	for name, want := range map[string]Trust{
		"X-Forwarded-For": TrustNever, "x_forwarded_host": TrustNever, "X.Forwarded.Proto": TrustNever, "X-Forwarded": TrustNever,
		"Forwarded": TrustNever, "X-Original-Url": TrustNever, "X_rewrite-Url": TrustNever, "X-Originating-Ip": TrustNever,
		"X-Host": TrustNever, "X-Real-Ip": TrustNever, "Cf-Connecting-Ip": TrustNever, "Proxy": TrustNever,
		"X-Middleware-Subrequest": TrustNever, "X-Sendfile-Type": TrustNever, "X_device_class": TrustNever, DeviceField: TrustNever,
		"X-Http-Method-Override": TrustUnsafe, "X_http_method": TrustUnsafe, "X-Method-Override": TrustUnsafe, "Destination": TrustUnsafe,
		"Accept": TrustFills, "Accept-Language": TrustFills, "Cookie": TrustFills, "Authorization": TrustFills, "Origin": TrustFills,
		"X-Mine": TrustFills, "X-Forwar": TrustFills, "Foo": TrustFills, "Sec-Ch-Ua-Mobile": TrustFills, "": TrustFills,
	} {
		if got := TrustOf(name); got != want {
			t.Errorf("%s: got %d, want %d", name, got, want)
		}
	}
	if foldName(DeviceField) != foldedDeviceField {
		t.Error("DeviceField is not folded right")
	}
}
