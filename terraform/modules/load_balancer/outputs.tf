output "arn" {
  description = "ARN of the load balancer."
  value       = aws_lb.this.arn
}

output "dns_name" {
  description = "DNS name of the load balancer, for an alias or a CNAME record."
  value       = aws_lb.this.dns_name
}

output "zone_id" {
  description = "Hosted zone of the load balancer's DNS name, for an alias record in Route 53."
  value       = aws_lb.this.zone_id
}

output "listener_arn" {
  description = "ARN of the HTTPS listener, to which services add their rules."
  value       = aws_lb_listener.https.arn
}

output "security_group_id" {
  description = "Security group of the load balancer, which services let in."
  value       = aws_security_group.this.id
}
