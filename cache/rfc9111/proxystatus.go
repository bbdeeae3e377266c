package rfc9111

// Error types of Proxy-Status that a gateway has use for (RFC 9209 section 2.3),
// in the order of that section.
const (
	ProxyDNSTimeout                 = "dns_timeout"
	ProxyDNSError                   = "dns_error"
	ProxyDestinationNotFound        = "destination_not_found"
	ProxyDestinationUnavailable     = "destination_unavailable"
	ProxyDestinationIPProhibited    = "destination_ip_prohibited"
	ProxyDestinationIPUnroutable    = "destination_ip_unroutable"
	ProxyConnectionRefused          = "connection_refused"
	ProxyConnectionTerminated       = "connection_terminated"
	ProxyConnectionTimeout          = "connection_timeout"
	ProxyConnectionReadTimeout      = "connection_read_timeout"
	ProxyConnectionWriteTimeout     = "connection_write_timeout"
	ProxyConnectionLimitReached     = "connection_limit_reached"
	ProxyTLSProtocolError           = "tls_protocol_error"
	ProxyTLSCertificateError        = "tls_certificate_error"
	ProxyTLSAlertReceived           = "tls_alert_received"
	ProxyHTTPRequestError           = "http_request_error"
	ProxyHTTPRequestDenied          = "http_request_denied"
	ProxyHTTPResponseIncomplete     = "http_response_incomplete"
	ProxyHTTPResponseHeaderSize     = "http_response_header_section_size"
	ProxyHTTPResponseBodySize       = "http_response_body_size"
	ProxyHTTPResponseTransferCoding = "http_response_transfer_coding"
	ProxyHTTPResponseContentCoding  = "http_response_content_coding"
	ProxyHTTPResponseTimeout        = "http_response_timeout"
	ProxyHTTPUpgradeFailed          = "http_upgrade_failed"
	ProxyHTTPProtocolError          = "http_protocol_error"
	ProxyInternalError              = "proxy_internal_error"
	ProxyConfigurationError         = "proxy_configuration_error"
	ProxyLoopDetected               = "proxy_loop_detected"
)

// AppendProxyStatus appends one node's member of the Proxy-Status field (RFC
// 9209). errorType is one of the constants; what is no token is reported as
// proxy_internal_error, and "" writes no error. details is for people, not for
// what a client must not know, and left out when "".
func AppendProxyStatus(dst []byte, node, errorType, details string) []byte {
	dst = appendSFItem(dst, node)
	if errorType != "" {
		if !isSFToken(errorType) {
			errorType = ProxyInternalError
		}
		dst = append(dst, ";error="...)
		dst = append(dst, errorType...)
	}
	if details != "" {
		dst = append(dst, ";details="...)
		dst = appendSFString(dst, details)
	}
	return dst
}
